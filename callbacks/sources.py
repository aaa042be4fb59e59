"""Which images a monitor looks at, and which epoch it is."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from lightning.pytorch import Trainer

from lightning_robust.errors import UserError

VALIDATION: Final = "validation"
CONCEPTS: Final = "concepts"


def images_of(trainer: Trainer, images: Any) -> Iterable[Any]:
    """The batches that a monitor's `images` stands for.

    Args:
        trainer: The Trainer.
        images: `"validation"` (validation loader 0, as many batches as the Trainer runs), `"concepts"` (the data
            module's `concept_dataloader()`), or batches themselves.

    Raises:
        UserError: If the Trainer has no validation loader, or the data module no concept set.
    """
    if isinstance(images, str) and images not in (VALIDATION, CONCEPTS):
        raise UserError(f"images is {VALIDATION!r}, {CONCEPTS!r} or a loader; got {images!r}")
    if isinstance(images, str) and images == VALIDATION:
        loader = first_validation_loader(trainer)
        limit = trainer.num_val_batches[0] if trainer.num_val_batches else None
        return islice(loader, None if limit is None or limit == float("inf") else int(limit))
    if isinstance(images, str):
        make = getattr(getattr(trainer, "datamodule", None), "concept_dataloader", None)
        if make is None:
            raise UserError(
                "images='concepts' needs a data module with concept_dataloader(); or give a loader as images="
            )
        return make()  # type: ignore[no-any-return]
    return images  # type: ignore[no-any-return]


def first_validation_loader(trainer: Trainer) -> Iterable[Any]:
    """Validation loader 0, the reference.

    Raises:
        UserError: If the Trainer has none.
    """
    loaders = trainer.val_dataloaders
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        loaders = loaders[0] if loaders else None
    if loaders is None:
        raise UserError("the monitor watches validation loader 0, but this Trainer has none; give it images=, a loader")
    return loaders  # type: ignore[no-any-return]


def epoch_number(trainer: Trainer) -> int:
    """Epochs of training completed: 0 before the first step, n at the end of the n-th epoch (of its validation too)."""
    batches = trainer.num_training_batches
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    whole = progress.ready >= batches if trainer.training or trainer.validating else False
    return trainer.current_epoch + int(whole)
