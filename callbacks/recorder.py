"""Keep the curves of a run in a file that survives resuming."""

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning_robust.callbacks.monitor import monitors_of
from lightning_robust.callbacks.sources import epoch_number

from lightning_robust.results import CurveFile, CurveRow, read_curves


class CurveRecorder(Callback):
    """Appends every monitor's figures and the scalars of each validation to a CSV: epoch, step, tag, value.

    A validation's scalars are the metrics that the module logs under names that begin with `val`. Where the sanity
    check covers the whole validation (`num_sanity_val_steps=-1`), its scalars are those of epoch 0; Lightning throws
    them away, so they go to the loggers from here. On resuming, rows after the checkpoint's step are dropped, earlier
    ones kept, and none is written twice. Put it after the monitors.

    Args:
        path: The file; its folder exists.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.curves = CurveFile(path)
        self._known: set[tuple[int, str]] = set()
        self._written: dict[str, int] = {}
        self._before: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop what a checkpoint does not know of, then write the figures from before training."""
        del pl_module
        self._written, self._known = {}, set()
        if not trainer.is_global_zero:
            return
        if trainer.global_step > 0 and self.curves.path.exists():
            self.curves.truncate_after(trainer.global_step)
            self._known = {(row.step, row.tag) for row in read_curves(self.curves.path)}
        for logger in trainer.loggers if self._before else ():
            logger.log_metrics(dict(self._before), step=0)
        self._write(trainer, self._before)
        self._before = {}

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Write what was measured between validations."""
        self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a validation's scalars and what was measured on the way."""
        del pl_module
        if trainer.state.fn != "fit":
            return
        monitored = {tag for monitor in monitors_of(trainer) for entry in monitor.history for tag in entry["scalars"]}
        scalars = {
            tag: value.item()
            for tag, value in trainer.callback_metrics.items()
            if tag.startswith("val") and tag not in monitored
        }
        if not trainer.sanity_checking:
            self._write(trainer, scalars)
        elif all(a >= b for a, b in zip(trainer.num_sanity_val_batches, trainer.num_val_batches, strict=True)):
            self._before = scalars

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was measured in an epoch without validation."""
        del pl_module
        self._write(trainer)

    def _write(self, trainer: Trainer, scalars: Mapping[str, float] | None = None) -> None:
        if not trainer.is_global_zero:
            return
        monitors = monitors_of(trainer)
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
