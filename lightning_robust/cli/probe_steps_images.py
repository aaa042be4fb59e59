"""Images of a probe over steps: which they are, read once and kept in memory for every step."""

import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from lightning_robust.cli.probe_steps_run import WatchedRun
from lightning_robust.errors import UserError, from_user
from lightning_robust.report.probe_table import CONCEPT_IMAGES

__all__ = ["Kept", "concept_images", "plain_images"]

_SHARE = 0.5  # of the machine's memory, for images


@dataclass(frozen=True)
class Kept:
    """Images in memory.

    Attributes:
        batches: Images, images with their classes, or images with concept labels, in order.
        source: What they are, for the record.
        own: Whether they are those that the run's monitors looked at, all of them.
        categories: Category of each concept, where there are labels.
        unreadable: What was left out, a sentence for each.
    """

    batches: Sequence[tuple[Tensor, ...]]
    source: str
    own: bool
    categories: tuple[str, ...] | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(len(batch[0]) for batch in self.batches)


def plain_images(args: Namespace, run: WatchedRun, transform: Callable[[Any], Any]) -> Kept:
    """The images of `--images`, or those of validation loader 0 of the run.

    Args:
        args: The command's arguments.
        run: The run.
        transform: The encoder's preprocessing.

    Raises:
        UserError: If they cannot be had, or do not fit into memory.
    """
    if args.images is not None:
        from lightning_robust.data.image_sets import image_loader, open_images

        with from_user(ValueError):
            pictures = open_images(args.images, transform, n=args.max_images, download=args.download)
            loader = image_loader(pictures, args.batch_size or 128)
            batches = list(_read(((batch,) for batch in loader), len(pictures), "images"))
        return Kept(batches, pictures.source, own=False, unreadable=tuple(loader.unreadable))
    if (scenes := run.scenes(transform)) is None:
        raise UserError(
            f"the run's data are of {run.data[0] or 'no data module'}, whose validation images cannot be opened again "
            "here: name the images with --images, a folder for example"
        )
    validation = scenes.val_dataloader()[0]
    count = run.batches(len(validation))
    whole = min(len(validation.dataset), count * (validation.batch_size or 1))  # type: ignore[arg-type]
    some = args.max_images is not None and args.max_images < whole
    read = _read((batch[:2] for batch in islice(validation, count)), args.max_images if some else whole, "images")
    batches = list(_resized(_first(read, args.max_images), args.batch_size))
    first = "the first of " if some else ""
    source = f"{first}the run's validation loader 0, {scenes.reference.name} ({_world(scenes)})"
    return Kept(batches, source, own=not some)


def concept_images(args: Namespace, run: WatchedRun, transform: Callable[[Any], Any]) -> Kept | None:
    """The concept set of `--concepts`, or the run's own; None where that cannot be opened again.

    Args:
        args: The command's arguments.
        run: The run.
        transform: The encoder's preprocessing.

    Raises:
        UserError: If it cannot be had, or does not fit into memory.
    """
    if args.concepts is not None:
        from lightning_robust.data.concept_sets import concept_loader, open_concept_set

        fetch = {"download": True} if args.download and args.concepts.startswith("hub:") else {}
        with from_user(ValueError):
            labelled = open_concept_set(args.concepts, transform, **fetch)
            loader = concept_loader(labelled, args.batch_size or 128)
            batches = list(_read(loader, len(labelled), "images of the concept set"))
        source = f"{labelled.source}{CONCEPT_IMAGES}"
        return Kept(batches, source, False, labelled.categories, tuple(loader.unreadable))
    if (scenes := run.scenes(transform)) is None:
        return None
    probes = scenes.concept_dataloader()
    read = _read((batch[:2] for batch in probes), len(probes.dataset), "images of the concept set")  # type: ignore[arg-type]
    source = f"the run's concept set ({_world(scenes)})"
    return Kept(list(_resized(read, args.batch_size)), source, True, tuple(scenes.concept_categories))


def _world(scenes: Any) -> str:
    return f"{scenes.description}, seed {scenes.seed}"


def _read(batches: Iterable[Any], count: int, what: str) -> Iterator[tuple[Tensor, ...]]:
    """Batches one by one, once it is known from the first that all fit into memory."""
    number = -1
    for number, batch in enumerate(batches):
        if number == 0:
            _check_memory(batch[0], count, what)
        yield tuple(batch)
    if number < 0:
        raise UserError(f"none of the {what} can be read, so there is nothing to measure")


def _check_memory(images: Tensor, count: int, what: str) -> None:
    each = images[0].numel() * images.element_size()
    most = int(_SHARE * _memory() / each)
    if count > most:
        shape = " × ".join(map(str, images.shape[1:]))
        instead = f"--max_images {most} would" if what == "images" else "fewer of them would"
        raise UserError(
            f"{count:,} {what} of {shape} take {count * each / 2**30:.0f} GiB, and all are kept in memory for every "
            f"step: {instead} fit into half of it"
        )


def _memory() -> int:
    """Bytes of this machine's memory; where nothing tells, 8 GiB."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30


def _first(batches: Iterable[tuple[Tensor, ...]], most: int | None) -> Iterator[tuple[Tensor, ...]]:
    left = most
    for batch in batches:
        yield batch if left is None else tuple(part[:left] for part in batch)
        if left is not None and (left := left - len(batch[0])) <= 0:
            return


def _resized(batches: Iterable[tuple[Tensor, ...]], size: int | None) -> Iterator[tuple[Tensor, ...]]:
    for batch in batches:
        parts = [part.split(size or len(part)) for part in batch]
        yield from zip(*parts, strict=True)
