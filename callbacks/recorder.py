"""Keep the curves of a run in a file that survives resuming."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning_robust.callbacks.monitor import monitors_of
from lightning_robust.callbacks.sources import epoch_number

from lightning_robust.results import CurveFile, CurveRow


class CurveRecorder(Callback):
    """Appends every monitor's figures and the scalars of each validation to a CSV: epoch, step, tag, value.

    On resuming, rows after the checkpoint's step are dropped and earlier ones kept. Put it after the monitors.

    Args:
        path: The file; its folder exists.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.curves = CurveFile(path)
        self._written: dict[str, int] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop what a checkpoint does not know of, then write the figures from before training."""
        del pl_module
        if trainer.is_global_zero and trainer.global_step > 0:
            self.curves.truncate_after(trainer.global_step)
        self._written = {m.state_key: len(m.history) for m in monitors_of(trainer) if trainer.global_step > 0}
        if trainer.global_step == 0:
            self._write(trainer, validation=True)

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Write what was measured between validations."""
        self._write(trainer, validation=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a validation's scalars and what was measured on the way."""
        del pl_module
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._write(trainer, validation=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was measured in an epoch without validation."""
        del pl_module
        self._write(trainer, validation=False)

    def _write(self, trainer: Trainer, *, validation: bool) -> None:
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
        if validation:
            measured = {tag for monitor in monitors for entry in monitor.history for tag in entry["scalars"]}
            epoch, step = epoch_number(trainer), trainer.global_step
            scalars = {tag: value.item() for tag, value in trainer.callback_metrics.items() if tag not in measured}
            rows += [CurveRow(epoch, step, tag, value) for tag, value in scalars.items() if tag.startswith("val/")]
        if rows:
            self.curves.append(rows)
