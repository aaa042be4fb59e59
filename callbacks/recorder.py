"""Keep the curves of a run in a file that survives resuming."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_robust.callbacks.effective_robustness import EffectiveRobustness
from lightning_robust.callbacks.monitor import monitors_of
from lightning_robust.callbacks.schedule import is_whole_check, validation_left_out
from lightning_robust.callbacks.sources import epoch_number
from lightning_robust.errors import UserError
from lightning_robust.results import CurveFile, CurveRow, atomic_path, read_curves


class CurveRecorder(Callback):
    """Appends the figures of every monitor and validation to a CSV: epoch, step, tag, value.

    Monitors are every `SignatureMonitor` and every `EffectiveRobustness` of the Trainer.

    A validation's scalars are the metrics that the module logs under names that begin with `val`. Where the sanity
    check covers the whole validation (`num_sanity_val_steps=-1`), its scalars are those of epoch 0; Lightning throws
    them away, so they go to the loggers from here (not those logged in the `validation_step` of several loaders, which
    Lightning never gives out). On resuming, rows that the checkpoint does not know of are dropped, those of a
    validation right after it that Lightning will not repeat excepted. Put it after the monitors.

    Args:
        path: The file; its folder exists.

    Raises:
        UserError: If a run that starts afresh finds another run's curves there.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.curves = CurveFile(path)
        self._known: set[tuple[int, str]] = set()
        self._written: dict[str, int] = {}
        self._before: dict[str, float] = {}
        self._rows: int | None = None
        self._begun = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another run's rows."""
        del pl_module
        if stage == "fit" and trainer.global_step == 0:
            self._known, self._written, self._before, self._rows = set(), {}, {}, None
        self._begun = False

    def state_dict(self) -> dict[str, Any]:
        """How many rows there are."""
        return {"rows": len(self._known)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know of the rows that there were."""
        self._rows = state_dict["rows"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop what a checkpoint does not know of, then write the figures from before training."""
        del pl_module
        if not trainer.is_global_zero:
            return
        self._begin(trainer)
        before, self._before = (
            (self._before if trainer.global_step == 0 else {}),
            {},
        )  # Lightning checks on resuming too
        for logger in trainer.loggers if before else ():
            logger.log_metrics(dict(before), step=0)
        self._write(trainer, before)

    def _begin(self, trainer: Trainer) -> None:
        """Before anything is written; a run that was broken off after its last step starts no training."""
        if not self._begun and self.curves.path.exists():
            self._go_on(trainer)
        self._begun = True

    def _go_on(self, trainer: Trainer) -> None:
        """Drop what the checkpoint does not know of."""
        rows, step = read_curves(self.curves.path), trainer.global_step
        if step == 0 and rows:
            raise UserError(f"{self.curves.path} holds the curves of another run: give this one a file of its own")
        known = len(rows) if self._rows is None or validation_left_out(trainer) is not None else self._rows
        kept = [row for row in rows[:known] if row.step <= step]
        if len(kept) < len(rows):
            with atomic_path(self.curves.path) as temporary:
                CurveFile(temporary).append(kept)
        self._written, self._known = {}, {(row.step, row.tag) for row in kept}

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Write what was measured between validations."""
        self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a validation's scalars and what was measured on the way."""
        del pl_module
        if trainer.state.fn != "fit":
            return
        monitored = {tag for monitor in _kept(trainer) for entry in monitor.history for tag in entry["scalars"]}
        scalars = {
            tag: value.item()
            for tag, value in trainer.callback_metrics.items()
            if tag.startswith("val") and tag not in monitored
        }
        if not trainer.sanity_checking:
            self._write(trainer, scalars)
        elif is_whole_check(trainer):
            self._before = scalars

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was measured in an epoch without validation."""
        del pl_module
        self._write(trainer)

    def _write(self, trainer: Trainer, scalars: Mapping[str, float] | None = None) -> None:
        if not trainer.is_global_zero:
            return
        self._begin(trainer)
        monitors = _kept(trainer)
        rows = [
            CurveRow(entry["epoch"], entry["step"], tag, value)
            for monitor in monitors
            for entry in monitor.history[self._written.get(monitor.state_key, 0) :]
            for tag, value in entry["scalars"].items()
        ]
        self._written = {monitor.state_key: len(monitor.history) for monitor in monitors}
        epoch, step = epoch_number(trainer), trainer.global_step
        rows += [CurveRow(epoch, step, tag, value) for tag, value in (scalars or {}).items()]
        fresh = [row for row in rows if (row.step, row.tag) not in self._known]
        if fresh:
            self.curves.append(fresh)
        self._known.update((row.step, row.tag) for row in fresh)


def _kept(trainer: Trainer) -> list[Any]:
    """Callbacks with a history of figures."""
    others = [c for c in getattr(trainer, "callbacks", []) if isinstance(c, EffectiveRobustness)]
    return [*monitors_of(trainer), *others]
