"""Where figures go: every logger of the Trainer, TensorBoard figures, and `callback_metrics`."""

from collections.abc import Mapping, Sequence

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from lightning_robust.callbacks.figures import rank_curve
from lightning_robust.callbacks.signature import Reading


def publish(trainer: Trainer, reading: Reading, epoch: int, before: Mapping[str, Sequence[float]]) -> None:
    """Send a reading out at the global step.

    Scalars go to all loggers (on the first process) and to `trainer.callback_metrics` (on all), which is what
    EarlyStopping and ModelCheckpoint read. TensorBoard also gets a figure for each curve.

    Args:
        trainer: The Trainer.
        reading: What was measured.
        epoch: Epochs trained.
        before: Curves from before training by tag, drawn in grey beside those of now; empty before training.
    """
    trainer.callback_metrics.update(as_metrics(reading.scalars))
    if not trainer.is_global_zero:
        return
    step = trainer.global_step
    moment = f"after epoch {epoch}, step {step}" if step else "before training"
    for logger in trainer.loggers:
        logger.log_metrics(dict(reading.scalars), step=step)
        if isinstance(logger, TensorBoardLogger):
            for tag, values in reading.curves.items():
                logger.experiment.add_figure(tag, rank_curve(tag, values, before.get(tag), moment), global_step=step)
        logger.save()


def as_metrics(scalars: Mapping[str, float]) -> dict[str, Tensor]:
    """Figures in the form of `trainer.callback_metrics`."""
    return {tag: torch.tensor(value) for tag, value in scalars.items()}
