"""Which images a monitor looks at, and which epoch it is."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from lightning_robust.errors import UserError

VALIDATION: Final = "validation"
CONCEPTS: Final = "concepts"


class Images:
    """The batches that a monitor's `images` stands for, made when they are iterated and not before.

    Making an iterator of a DataLoader draws from torch's global random state, and so may a data module that makes a
    loader: both have to happen inside the pass, which puts the random states back.

    Args:
        trainer: The Trainer.
        images: `"validation"` (validation loader 0, as many batches as the Trainer runs), `"concepts"` (the data
            module's `concept_dataloader()`), or batches themselves.

    Raises:
        UserError: If the Trainer has no validation loader, or the data module no concept set.
    """

    def __init__(self, trainer: Trainer, images: Any) -> None:
        self.trainer, self.images = trainer, images
        if isinstance(images, str) and images == VALIDATION:
            first_validation_loader(trainer)
        elif isinstance(images, str) and not callable(self._concept_loader()):
            raise UserError(
                "images='concepts' needs a data module with concept_dataloader(); or give a loader as images="
            )

    def __iter__(self) -> Iterator[Any]:
        if not isinstance(self.images, str):
            return iter(self.images)
        if self.images == VALIDATION:
            return islice(first_validation_loader(self.trainer), _as_count(self.trainer.num_val_batches[0]))
        return iter(self._concept_loader()())

    def _concept_loader(self) -> Any:
        return getattr(getattr(self.trainer, "datamodule", None), "concept_dataloader", None)


def first_validation_loader(trainer: Trainer) -> Iterable[Any]:
    """Validation loader 0, the reference; Lightning makes the loaders late where the first epoch has no validation.

    Raises:
        UserError: If the Trainer has none, or runs no batch of it.
    """
    stage = trainer.state.stage
    if trainer.val_dataloaders is None and trainer.enable_validation:
        trainer.validating = True
        try:
            trainer.fit_loop.epoch_loop.val_loop.setup_data()
        finally:
            trainer.state.stage = stage
    loaders = trainer.val_dataloaders
    while isinstance(loaders, dict | list | tuple):
        loaders = next(iter(loaders.values() if isinstance(loaders, dict) else loaders), None)
    if loaders is None or not trainer.num_val_batches or not trainer.num_val_batches[0]:
        raise UserError(
            "the images of validation loader 0 are asked for, but this Trainer runs none; give it one, or images="
        )
    return loaders  # type: ignore[no-any-return]


def every_validation_image(trainer: Trainer) -> Iterable[Any]:
    """What all processes together see of validation loader 0: each process's own loader holds only its share.

    Raises:
        UserError: If there is no validation loader.
    """
    loader = first_validation_loader(trainer)
    if trainer.world_size == 1 or not isinstance(loader, DataLoader):
        return Images(trainer, VALIDATION)
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1)
    whole: DataLoader[Any] = DataLoader(loader.dataset, batch_size=size, collate_fn=loader.collate_fn)
    limit = _as_count(trainer.num_val_batches[0])
    return islice(whole, None if limit is None else limit * trainer.world_size)


def _as_count(batches: float) -> int | None:
    return None if batches == float("inf") else int(batches)


def epoch_number(trainer: Trainer, *, starting: bool = False) -> int:
    """Epochs of training completed: 0 before the first step, n at the end of the n-th epoch (of its validation too).

    Args:
        trainer: The Trainer.
        starting: Whether this is `on_train_start`, where a checkpoint's last epoch may count as completed already.
    """
    epoch, batch = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop.batch_progress
    whole = batch.is_last_batch or batch.current.ready >= trainer.num_training_batches
    counted = starting and epoch.ready <= epoch.completed
    return trainer.current_epoch + int(whole and not counted)
