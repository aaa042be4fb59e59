"""Which images a monitor looks at, and which epoch it is."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch import Trainer
from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler

from lightning_robust.callbacks.schedule import chosen_validations
from lightning_robust.callbacks.shares import Share, share_of
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
        whole: Whether one process reads what all share.

    Raises:
        UserError: If the Trainer has no validation loader, or the data module no concept set.
    """

    def __init__(self, trainer: Trainer, images: Any, *, whole: bool = False) -> None:
        self.trainer, self.images, self.whole = trainer, images, whole
        self._made: Any = None
        self._whole: Any = None
        if isinstance(images, str) and images == VALIDATION:
            first_validation_loader(trainer)
        elif isinstance(images, str) and not callable(self._concept_loader()):
            raise UserError(
                "images='concepts' needs a data module with concept_dataloader(); or give a loader as images="
            )

    def __iter__(self) -> Iterator[Any]:
        return islice(*self.batches())

    def batches(self) -> tuple[Any, int | None]:
        """The loader, and how many of its batches count; None for all."""
        limit, world = None, self.trainer.world_size
        if isinstance(self.images, str) and self.images == VALIDATION:
            limit = _as_count(self.trainer.num_val_batches[0])
        if not self.whole or world == 1:
            return self._loader(), limit
        if self._whole is None:
            self._whole = whole_loader(self._loader())
        return self._whole, None if limit is None else limit * world

    @property
    def unreadable(self) -> Sequence[str]:
        """What the last pass left out as unreadable, a sentence for each."""
        found: Sequence[str] = getattr(self.batches()[0], "unreadable", ())
        return found

    @property
    def share(self) -> Share:
        """Which of the images are this process's own."""
        watched = isinstance(self.images, str) and self.images == VALIDATION
        return Share() if self.whole else share_of(self._loader(), self.trainer.world_size, watched=watched)

    def _loader(self) -> Any:
        if not isinstance(self.images, str):
            return self.images
        if self.images == VALIDATION:
            return first_validation_loader(self.trainer)
        if self._made is None:
            self._made = self._concept_loader()()
        return self._made

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
    none = not trainer.num_val_batches or not trainer.num_val_batches[0]
    if loaders is None or (none and not (trainer.world_size > 1 and trainer.enable_validation)):  # others may have some
        raise UserError(
            "the images of validation loader 0 are asked for, but this Trainer runs none; give it one, or images="
        )
    return loaders  # type: ignore[no-any-return]


def whole_loader(loader: Any) -> Any:
    """A loader of all images, where the given one has one process's share of them; else the given one.

    Args:
        loader: Batches.
    """
    sampler = getattr(loader, "sampler", None)
    if not isinstance(sampler, DistributedSampler) or sampler.num_replicas == 1:
        return loader
    wrapped: Any = sampler.dataset
    inner = wrapped._sampler if isinstance(sampler, DistributedSamplerWrapper) else SequentialSampler(loader.dataset)
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1)
    return with_batches(loader, BatchSampler(inner, size, drop_last=False))


def with_batches(loader: Any, batches: Any) -> Any:
    """The same loader with other batches: what it does with an image, or leaves out of a batch, stays.

    Args:
        loader: A `DataLoader` that makes batches.
        batches: Indices of each batch; can be iterated several times, and has a length.
    """
    changed = copy.copy(loader)
    # a DataLoader refuses to have these set, since an iterator that lives on would not know of it; here there is none
    changed.__dict__.update(batch_sampler=batches, persistent_workers=False, _iterator=None)
    return changed


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
    chosen = chosen_validations(trainer)
    starting = starting or (chosen is not None and chosen.making_up)
    counted = starting and epoch.ready <= epoch.completed
    return trainer.current_epoch + int(whole and not counted)
