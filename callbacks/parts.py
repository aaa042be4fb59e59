"""Images that several processes read together, each a stretch of the batches that one process would read.

Batches stay whole: their composition, and with it every rounding, is that of one process, no image is repeated, and
what the processes found is put together in the order of ranks.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader, IterableDataset

from lightning_robust.callbacks.sources import Images, with_batches
from lightning_robust.callbacks.together import Together
from lightning_robust.data.reading import TolerantLoader

#: Loaders that read what their batch sampler says, and nothing else.
_KNOWN: Final = (DataLoader.__iter__, TolerantLoader.__iter__)


def parts_of(images: Mapping[str, Iterable[Any]], together: Together) -> dict[str, Iterable[Any]]:
    """This process's batches of every set of images; each process has to call this.

    Rank r of R reads batches r·B/R to (r + 1)·B/R of B, in the order that the first process's loader has now. Where a
    set cannot be shared, because it is no `DataLoader` over a data set of known length and the same on all, the first
    process reads all of it and the others nothing; one warning says so.

    Args:
        images: Whole loaders, or `Images` made with `whole=True`, by name; every process has the same.
        together: The processes.

    Returns:
        Batches by name; the images themselves where there is one process.
    """
    if together.world == 1:
        return dict(images)
    loaders = {name: _loader_of(source) for name, source in images.items()}
    told = together.each(lambda: {name: _plan(*loaders[name], first=together.rank == 0) for name in images})
    parts: dict[str, Iterable[Any]] = {}
    alone = []
    for name, source in images.items():
        kinds = [kind for kind, _ in (each[name] for each in told)]
        if kinds[0] is None or any(kind != kinds[0] for kind in kinds):
            alone.append(name)
            parts[name] = source if together.rank == 0 else []
            continue
        batches = told[0][name][1]
        first, end = (len(batches) * rank // together.world for rank in (together.rank, together.rank + 1))
        parts[name] = with_batches(loaders[name][0], batches[first:end])
    if alone:
        rank_zero_warn(
            f"the first process alone reads {', '.join(map(repr, alone))} for the Wise-FT path, as no DataLoader over "
            "a data set of known length, alike on all processes, is there to share"
        )
    return parts


def unreadable_of(images: Iterable[Any]) -> tuple[str, ...]:
    """What the last pass over images left out as unreadable, a sentence for each.

    Args:
        images: A loader, or `Images`.
    """
    return tuple(getattr(images, "unreadable", ()))


def _loader_of(source: Any) -> tuple[Any, int | None]:
    return source.batches() if isinstance(source, Images) else (source, None)


def _plan(loader: Any, limit: int | None, *, first: bool) -> tuple[Any, list[list[Any]]]:
    """What a loader is, to be compared over processes (None: it cannot be shared), and on the first its batches."""
    if not isinstance(loader, DataLoader) or type(loader).__iter__ not in _KNOWN or loader.batch_sampler is None:
        return None, []
    if isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__len__"):
        return None, []
    kind = (type(loader).__name__, type(loader.dataset).__name__, len(loader.dataset))
    return kind, [list(batch) for batch in islice(loader.batch_sampler, limit)] if first else []
