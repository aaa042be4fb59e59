"""A judged Wise-FT path as curves over α in TensorBoard."""

from collections.abc import Sequence

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_robust.callbacks.robustness_scalars import robustness_scalars
from lightning_robust.results import AlphaRow


def log_path(trainer: Trainer, rows: Sequence[AlphaRow], decimals: int) -> None:
    """Log every figure of every α; the step is α in percent (in units of its last decimal, where it has more).

    TensorBoard alone gets them: other loggers take the step for one of training.

    Args:
        trainer: The Trainer.
        rows: The path.
        decimals: That tell all α's apart, at least two.
    """
    writers = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    for row in rows if writers else ():
        scalars, step = path_scalars(row), round(row.alpha * 10**decimals)
        for writer in writers:
            for tag, value in scalars.items():
                writer.add_scalar(tag, value, global_step=step)
    for writer in writers:
        writer.flush()


def path_scalars(row: AlphaRow) -> dict[str, float]:
    """Figures of one α by tag, every tag under `wise_ft/`.

    Args:
        row: Of the path.
    """
    names = {"reference": row.reference, **row.shifts}
    scalars = {"val/reference/accuracy": row.val_reference}
    scalars |= {f"test/{name}/accuracy": value for name, value in names.items()}
    if row.shifts:
        scalars["test/shifts/accuracy"] = row.shifts_mean
    if row.effective_robustness is not None:
        scalars |= robustness_scalars(row.effective_robustness)
    scalars |= row.signatures
    return {f"wise_ft/{tag}": value for tag, value in scalars.items()}
