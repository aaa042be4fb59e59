"""`LogSteps`: validations, and with them every measurement, at log-spaced optimiser steps, and a checkpoint at each."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lightning_robust.callbacks.averaging import check_averaging_first
from lightning_robust.callbacks.log_spaced import LogSpaced
from lightning_robust.callbacks.recalibrated import (
    RecalibratedStatistics,
    check_recalibrates,
    untouched_batch_norms,
    warn_of_choices,
)
from lightning_robust.callbacks.schedule import ChoosesValidations
from lightning_robust.callbacks.step_checkpoints import check_no_other_run, module_to_write, step_path, write_step
from lightning_robust.callbacks.validating import (
    ALWAYS,
    NEVER,
    QuietValidation,
    check_validates,
    check_validation_settings,
    go_back_to_validation,
    is_last_step,
    validate_now,
)
from lightning_robust.errors import UserError

_CATCH_UP: Final = 64  # with a momentum of 0.1 a thousandth is left of what was 64 steps ago


class LogSteps(ChoosesValidations):
    """Validates at optimiser steps 0, 1, 2, 3, 4, 6, 8, 11, 16 … and at the last one, and writes a checkpoint there.

    The validations are Lightning's own, so everything that belongs to one happens at these steps and at no others: the
    module logs its accuracies, `EffectiveRobustness` has a point, every `SignatureMonitor` measures (with images of its
    own too), `CurveRecorder` writes rows with the step. The one at step 0 is the sanity check, over whole loaders
    whatever `num_sanity_val_steps` says. The Trainer's `check_val_every_n_epoch` and `val_check_interval` are left
    out; its `limit_val_batches`, or the data module's sizes, say what a validation costs.

    Training is bitwise what it would be without any validation: a validation gives modes and random states back. A run
    that goes on from a checkpoint (`--ckpt_path last`, wherever between two steps) has each validation once: one that
    was made before the checkpoint was written is not repeated, and one that was broken off, or that was due when the
    checkpoint was written, is made.

    A step is one of `global_step`, which counts optimiser steps: with accumulated gradients several batches make one,
    and with several optimisers a batch makes several, of which the last is measured. `probe` measures the checkpoints
    later.

    Args:
        per_octave: Steps from each power of two to the next: 1 gives 1, 2, 4, 8 …, 2 gives 1, 2, 3, 4, 6, 8, 11 …
        first: The first step after 0; the others are the rounded `first · 2^(k / per_octave)`.
        steps: These steps instead; 0 is before training. The last step of the run is always one.
        validate: Whether to validate; False only writes the checkpoints, and the Trainer validates as it is told.
        checkpoints: Whether to write the model, as `step=000128.safetensors`: a CLIP or a classifier's encoder under
            open_clip's keys, which load strictly in plain open_clip and by `load_encoder`, with a classifier's head
            beside it (`step=000128.head.safetensors`); another module's whole state in one file. With Lightning's
            `WeightAveraging` the averaged weights.
        folder: Where checkpoints go; None is `steps` below the Trainer's `default_root_dir`.
        module: Name of the submodule that is written, `""` for the whole LightningModule; None takes the first of
            `model` and `encoder` that there is, else the whole.
        recalibrate: Training images over which the running statistics of batch norms are recomputed for the validation
            and the checkpoint of each step; training, Lightning's checkpoints and what is measured at other moments
            keep training's own. So a figure that `ModelCheckpoint(monitor=…)` chooses by is not that of the checkpoint
            it saves, but of the step's. Without it the points of the first hundred steps show statistics that have not
            caught up with the weights (before training mean 0, variance 1), and a ResNet's curves begin with them. Some
            20 batches are enough; 0 leaves them. Costs a pass over them. See `RecalibratedStatistics`.

    Raises:
        UserError: For steps that cannot be, a setting without effect, a Trainer that validates nothing or has a
            schedule of its own, an unknown submodule, or a folder with the checkpoints of another run; before training
            starts.

    Example:
        >>> LogSteps().up_to(50)
        [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 50]
    """

    def __init__(
        self,
        per_octave: int = 2,
        first: int = 1,
        steps: Sequence[int] | None = None,
        validate: bool = True,
        checkpoints: bool = True,
        folder: str | Path | None = None,
        module: str | None = None,
        recalibrate: int = 0,
    ) -> None:
        super().__init__()
        self.per_octave, self.first = per_octave, first
        self.steps = None if steps is None else tuple(sorted(set(steps)))
        self.validate, self.checkpoints, self.folder, self.module = validate, checkpoints, folder, module
        self.recalibrate = recalibrate
        self._spaced = LogSpaced(per_octave, first, self.steps)
        _check_settings(self)
        self._statistics = RecalibratedStatistics(recalibrate)
        #: Steps that have their validation and their checkpoint.
        self.done: list[int] = []
        self._seen: int | None = None
        self._pending = False
        self._quiet: QuietValidation | None = None
        self._kept: tuple[Any, Any] | None = None

    def up_to(self, last: int) -> list[int]:
        """The steps of a run.

        Args:
            last: Its last step.
        """
        return self._spaced.up_to(last)

    @property
    def convention(self) -> str:
        """Which statistics batch norms had at its steps, in words."""
        return self._statistics.convention(validate=self.validate, checkpoints=self.checkpoints)

    @property
    def chooses_validations(self) -> bool:
        """Whether validations run at these steps and at no others."""
        return self.validate

    def state_dict(self) -> dict[str, Any]:
        """Which steps are done, and whether one waits for its validation."""
        told = {"ran": self._statistics.ran, "left": self._statistics.left}
        return {"done": self.done, "seen": self._seen, "pending": self._pending, "recalibrated": told}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the steps of a checkpoint."""
        self.done, self._seen = list(state_dict["done"]), state_dict["seen"]
        self._pending = state_dict["pending"]
        told = state_dict.get("recalibrated", {})  # missing in older checkpoints
        self._statistics.ran, self._statistics.left = list(told.get("ran", [])), dict(told.get("left", {}))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another run's steps; have the whole validation run before training."""
        del pl_module
        if stage != "fit":
            return
        if trainer.global_step == 0:
            self.done, self._seen, self._pending = [], None, False
            self._statistics.ran, self._statistics.left = [], {}
        self._kept = (trainer.num_sanity_val_steps, trainer.val_check_batch)
        if self.validate:
            trainer.num_sanity_val_steps = float("inf") if self._spaced.begins_at_zero else 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse now what cannot work."""
        if self.recalibrate:
            check_recalibrates(trainer, pl_module)
            self._statistics.begin(trainer)
            if self.validate:
                warn_of_choices(trainer)
        elif self._spaced.is_due(-1, _CATCH_UP) and untouched_batch_norms(pl_module):
            rank_zero_warn(
                f"The batch norms of {type(pl_module).__name__} begin with a running mean of 0 and a variance of 1, "
                "which the figures of the first hundred steps show: LogSteps(recalibrate=3000) recomputes them"
            )
        if self.validate:
            check_validation_settings(trainer, pl_module)
            self._quiet = QuietValidation(
                trainer,
                partial(self._statistics.put, trainer, pl_module),
                partial(self._statistics.take_out, pl_module),
            )
        else:
            check_averaging_first(trainer, self, "it has to average a step before that is written")
        if self.checkpoints:
            module_to_write(pl_module, self.module)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave out the sanity check, which Lightning has again where a run goes on from the end of an epoch."""
        del pl_module, checkpoint
        if self.validate:
            trainer.num_sanity_val_steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write step 0, or have Lightning go back to a validation that the checkpoint was written before."""
        step = trainer.global_step
        if self.validate:
            check_validates(trainer, pl_module)
        if self.checkpoints and step == 0 and trainer.is_global_zero:
            check_no_other_run(self._folder(trainer))
        if self._seen is None:  # a run that starts, or one that had no LogSteps
            self._pending = step == 0 and self._spaced.begins_at_zero
        else:
            self._pending |= step not in self.done and self._spaced.is_due(self._seen, step)
        self._seen = step
        if self._pending and (step == 0 or not self.validate):
            self._take(trainer, pl_module)
        elif self._pending:
            go_back_to_validation(trainer)
        if self.validate:
            # also where the checkpoint was written at the end of a validation: Lightning knows that it is done
            after_one = trainer.fit_loop.epoch_loop.restarted_on_last and step in self.done
            trainer.val_check_batch = ALWAYS if self._pending or after_one else NEVER

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin training with its own statistics."""
        del trainer, batch, batch_idx
        self._statistics.take_out(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Have Lightning validate after this batch, if its step is one of ours."""
        del outputs, batch, batch_idx
        step = trainer.global_step
        due = self._spaced.is_due(self._seen or 0, step) or is_last_step(trainer)
        self._seen, self._pending = step, due and step not in self.done
        if self.validate:
            trainer.val_check_batch = ALWAYS if self._pending else NEVER
        elif self._pending:
            self._take(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint of a step that has been validated."""
        if not self.validate or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._take(trainer, pl_module)
        if self._quiet is not None:
            self._quiet.give_back()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for the last step, where a run is stopped after it, or was broken off before its validation."""
        step = trainer.global_step
        self._pending |= step > 0 and step not in self.done
        if self.validate:
            self._make_up(trainer)
        elif self._pending:
            self._take(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for a run that was broken off, where training did not even start."""
        if self._pending and self.validate:
            pl_module.to(trainer.strategy.root_device)
            self._make_up(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the Trainer as it was."""
        del stage
        self._leave(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the Trainer as it was when a run breaks off."""
        del exception
        self._leave(trainer, pl_module)

    def _make_up(self, trainer: Trainer) -> None:
        if self._pending and self.validate:
            self.making_up = True
            try:
                validate_now(trainer)
            finally:
                self.making_up = False

    def _leave(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._statistics.take_out(pl_module)
        self._statistics.end()
        if self._quiet is not None:
            self._quiet.end()
        if self._kept is not None:
            trainer.num_sanity_val_steps, trainer.val_check_batch = self._kept
        self._quiet = self._kept = None

    def _take(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint of this step, and know that it is done."""
        step = trainer.global_step
        if self.checkpoints:
            path, name = step_path(self._folder(trainer), step), module_to_write(pl_module, self.module)
            with self._statistics.around(trainer, pl_module):
                write_step(path, trainer, pl_module, name)
        if step not in self.done:
            self.done.append(step)
        self._pending = False

    def _folder(self, trainer: Trainer) -> Path:
        return Path(self.folder) if self.folder is not None else Path(trainer.default_root_dir) / "steps"


def _check_settings(given: LogSteps) -> None:
    """Check settings against each other.

    Raises:
        UserError: For a setting that cannot be, or has no effect.
    """
    if given.recalibrate < 0:
        raise UserError(f"recalibrate is a number of training images, 0 for none, got {given.recalibrate}")
    if not given.validate and not given.checkpoints:
        raise UserError("LogSteps with validate=False and checkpoints=False does nothing: leave it out")
    if not given.checkpoints and (given.folder is not None or given.module is not None):
        raise UserError("folder and module say where and what to write: they have no effect with checkpoints=False")
