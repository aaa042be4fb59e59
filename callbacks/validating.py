"""What `LogSteps` asks of Lightning's loops: to validate after this batch, to go back to a validation, to draw nothing.

`_TrainingEpochLoop._should_check_val_fx` validates after a batch whose number `trainer.val_check_batch` divides, and
after any batch where training is about to be stopped.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loops.evaluation_loop import RestartStage

from lightning_robust.errors import UserError
from lightning_robust.models.modes import kept_random_state

#: Values of `trainer.val_check_batch`: one divides the number of any batch, one that of none, nor the 0 of a resumed
#: run that stands between two epochs.
ALWAYS: Final = 1
NEVER: Final = float("nan")


def check_validation_settings(trainer: Trainer, module: LightningModule) -> None:
    """Check that the Trainer validates, and has no schedule of its own for that.

    Args:
        trainer: The Trainer.
        module: Its LightningModule.

    Raises:
        UserError: If it validates nothing, or a setting would have no effect.
    """
    if not trainer.enable_validation:
        raise UserError(
            f"LogSteps validates at log-spaced steps, and this Trainer runs no validation of {type(module).__name__}: "
            "give it validation loaders and limit_val_batches above 0, or LogSteps validate=False"
        )
    every = trainer.check_val_every_n_epoch
    interval = getattr(trainer, "val_check_interval", "a time")  # for a time Lightning keeps none
    if every not in (None, 1) or interval != 1.0:
        raise UserError(
            "LogSteps says when to validate, so check_val_every_n_epoch and val_check_interval have no effect; got "
            f"{every} and {interval}: leave them out"
        )


def check_validates(trainer: Trainer, module: LightningModule) -> None:
    """Check that the Trainer's validation loaders, which are there now, give a batch.

    Raises:
        UserError: If there is none.
    """
    if not sum(trainer.num_val_batches):
        raise UserError(
            f"LogSteps validates at log-spaced steps, and the validation loaders of {type(module).__name__} give no "
            "batch: give it some, or LogSteps validate=False"
        )


class QuietValidation:
    """Has every validation of a Trainer's fit give the random states back: loaders draw when they are iterated.

    Args:
        trainer: The Trainer.
        begin: Called before each validation, while modules are in the modes of training.
        end: Called after it, also when it raised; the sanity check excepted, after which training has not begun.
    """

    def __init__(self, trainer: Trainer, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._trainer, self._begin, self._end = trainer, begin, end
        self._loop: Any = trainer.fit_loop.epoch_loop.val_loop
        self._run, self._stack = self._loop.run, ExitStack()
        vars(self._loop)["run"] = self.run

    def run(self) -> Any:
        """Validate."""
        with self._stack:
            self._begin()
            if not self._trainer.sanity_checking:
                self._stack.callback(self._end)
            self._stack.enter_context(kept_random_state())
            return self._run()

    def give_back(self) -> None:
        """Give them back before the end, for a checkpoint that is written inside the validation."""
        self._stack.close()
        self._stack.enter_context(kept_random_state())

    def end(self) -> None:
        """Leave the Trainer's loop as it was."""
        vars(self._loop).pop("run", None)


def go_back_to_validation(trainer: Trainer) -> None:
    """Have a resumed run begin with the validation that its checkpoint was written before, or inside of.

    Lightning leaves out the validation after a checkpoint that was written at the end of a training batch, and finishes
    the rest of one that was broken off, without what its first batches gave. Here it runs whole, where it would have
    run. To be called in `on_train_start`.

    Args:
        trainer: The Trainer.
    """
    loop = trainer.fit_loop.epoch_loop
    if trainer.fit_loop.done:  # no loop runs any more
        return
    if loop.restarted_on_train_batch_end:
        # counted once as the resumed loop begins, and once more after the validation; loggers take it for the step
        loop._batches_that_stepped -= 1
    loop.val_loop.restarting = False
    loop.val_loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION


def validate_now(trainer: Trainer) -> None:
    """Validate where no loop is left that would.

    Args:
        trainer: The Trainer.
    """
    stage, loop = trainer.state.stage, trainer.fit_loop.epoch_loop.val_loop
    loop.restarting = False
    trainer.validating = True
    try:
        loop.run()
    finally:
        trainer.state.stage = stage


def is_last_step(trainer: Trainer) -> bool:
    """Whether the batch that ends now is the last of the run, as far as it is known before."""
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return True
    epochs = trainer.max_epochs
    return trainer.is_last_batch and epochs not in (None, -1) and trainer.current_epoch + 1 >= int(epochs or 0)
