"""Which validation images of a run could not be read and were left out."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from lightning_robust.callbacks.parts import unreadable_of
from lightning_robust.callbacks.shares import over_ranks

__all__ = ["unreadable_in_validation"]


def unreadable_in_validation(trainer: Trainer, data: Any) -> dict[str, tuple[str, ...]]:
    """What the last validation left out, of all processes together; each has to call this.

    Args:
        trainer: The Trainer after `fit`.
        data: The data module, whose `val_loader_names` name the loaders.

    Returns:
        A sentence for each image, by `"<loader> (validation)"`; only loaders that left something out.
    """
    loaders = trainer.val_dataloaders
    if isinstance(loaders, Mapping):
        names, listed = list(loaders), list(loaders.values())
    else:
        listed = list(loaders) if isinstance(loaders, list | tuple) else [] if loaders is None else [loaders]
        names = list(getattr(data, "val_loader_names", None) or ())
    if len(names) != len(listed):
        names = [f"loader_{k}" for k in range(len(listed))]
    own = {f"{name} (validation)": unreadable_of(loader) for name, loader in zip(names, listed, strict=True)}
    found = {name: [told for rank in over_ranks(own) for told in rank[name]] for name in own} if own else {}
    return {name: tuple(dict.fromkeys(sentences)) for name, sentences in found.items() if sentences}
