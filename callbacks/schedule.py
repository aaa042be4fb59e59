"""When a monitor measures: after every n epochs, and after every n optimiser steps."""

from dataclasses import dataclass

from lightning.pytorch import Callback, Trainer

from lightning_robust.errors import UserError


class ChoosesValidations(Callback):
    """A callback that says after which steps the Trainer validates.

    Attributes:
        making_up: Whether it has a validation run now, after training, that a broken-off run lacks.
    """

    making_up = False

    @property
    def chooses_validations(self) -> bool:
        """Whether validations run where it says and nowhere else."""
        return True


def chosen_validations(trainer: Trainer) -> ChoosesValidations | None:
    """The callback that says when the Trainer validates; None where the Trainer's own settings do.

    Args:
        trainer: The Trainer.
    """
    callbacks = (c for c in getattr(trainer, "callbacks", []) if isinstance(c, ChoosesValidations))
    return next((callback for callback in callbacks if callback.chooses_validations), None)


@dataclass(frozen=True)
class Schedule:
    """The moments of a `fit` at which to measure, beside the one before training.

    Args:
        every_n_epochs: After each n-th epoch; 0 never.
        every_n_steps: After each n-th optimiser step; None never.

    Raises:
        UserError: For a negative number of epochs, or less than one step.
    """

    every_n_epochs: int = 1
    every_n_steps: int | None = None

    def __post_init__(self) -> None:
        if self.every_n_epochs < 0 or (self.every_n_steps is not None and self.every_n_steps < 1):
            raise UserError(
                "every_n_epochs is 0 (never) or more and every_n_steps None (never) or at least 1; got "
                f"{self.every_n_epochs} and {self.every_n_steps}"
            )

    def in_validation(self, trainer: Trainer) -> bool:
        """Whether the validation that runs now is one to measure; never outside `fit`."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return False
        if chosen_validations(trainer) is not None:
            return self.every_n_epochs > 0
        return self.is_due(trainer.current_epoch + 1)

    def after_epoch(self, trainer: Trainer) -> bool:
        """Whether to measure after the epoch that ends now; not where a callback chooses the moments."""
        return chosen_validations(trainer) is None and self.in_validation(trainer)

    def after_step(self, trainer: Trainer, since: int) -> bool:
        """Whether an n-th optimiser step was taken since another: a batch takes none, one, or one for each optimiser.

        Args:
            trainer: The Trainer, whose `global_step` counts the steps of all optimisers.
            since: `global_step` after the batch before.
        """
        n, step = self.every_n_steps, trainer.global_step
        return n is not None and step // n > since // n

    def is_due(self, epochs: int) -> bool:
        """Whether to measure after so many epochs."""
        return self.every_n_epochs > 0 and epochs % self.every_n_epochs == 0


def is_whole_check(trainer: Trainer) -> bool:
    """Whether the sanity check that runs now covers the whole validation, so that its figures are those of epoch 0.

    Args:
        trainer: The Trainer.
    """
    pairs = zip(trainer.num_sanity_val_batches, trainer.num_val_batches, strict=True)
    return trainer.sanity_checking and all(checked >= whole for checked, whole in pairs)


def validation_left_out(trainer: Trainer) -> int | None:
    """Find the validation that the unbroken run had and that Lightning is about to leave out.

    It leaves one out on resuming from a checkpoint that was written at the end of a training batch, just before the
    validation that follows it. To be asked in `on_train_start`.

    Returns:
        The epoch at whose end, or inside which, it was, counted from 1; None if nothing is left out.
    """
    loop, every = trainer.fit_loop.epoch_loop, trainer.check_val_every_n_epoch
    if not trainer.enable_validation or not loop.restarted_on_train_batch_end:
        return None
    if chosen_validations(trainer) is not None:  # which sees to it that none is left out
        return None
    progress = loop.batch_progress
    # an epoch that is whole counts as completed already
    epoch = trainer.current_epoch + (0 if progress.is_last_batch else 1)
    batches, interval = (progress.total if every is None else progress.current).ready, trainer.val_check_batch
    by_epoch = interval is None or interval == float("inf")
    due = progress.is_last_batch if by_epoch else batches % int(interval or 1) == 0
    return epoch if due and (every is None or epoch % every == 0) else None
