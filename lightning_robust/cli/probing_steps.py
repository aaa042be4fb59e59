"""Every monitored figure of a run at each of its checkpoints, by the very code that measures in training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lightning_robust.callbacks import SignatureMonitor
from lightning_robust.callbacks.kurtosis import follow_outliers_since
from lightning_robust.callbacks.passes import run_pass
from lightning_robust.callbacks.shares import Share
from lightning_robust.callbacks.signature import Reading
from lightning_robust.cli.probe_steps_files import StepFile
from lightning_robust.cli.probe_steps_images import Kept
from lightning_robust.cli.probe_steps_model import RunModel
from lightning_robust.results.curves import read_curves
from lightning_robust.results.steps_record import Agreement, ProbedStep
from lightning_robust.signatures import LayerForm
from lightning_robust.signatures.batches import batch_to

__all__ = ["Watch", "agreement", "probe_steps"]


@dataclass(frozen=True)
class Watch:
    """Monitors that look at the same images.

    Attributes:
        monitors: They.
        images: What they look at.
    """

    monitors: Sequence[SignatureMonitor]
    images: Kept


def probe_steps(
    files: Sequence[StepFile],
    model: RunModel,
    watches: Sequence[Watch],
    device: str,
    tell: Callable[[StepFile], None],
) -> tuple[list[ProbedStep], dict[str, LayerForm]]:
    """Measure the checkpoints one after another, the weights of one in memory.

    Args:
        files: The checkpoints, in order.
        model: What they are loaded into.
        watches: What to measure, on which images; the monitors' `history` is used.
        device: Where the model runs.
        tell: Is told of each checkpoint that is done.

    Returns:
        The points, and the form of each layer.

    Raises:
        UserError: If a checkpoint cannot be read, or a layer, head or weight is not there.
    """
    model.to(device)
    points, forms = [], dict[str, LayerForm]()
    for file in files:
        model.take(file)
        figures: dict[str, float] = {}
        for watch in watches:
            for reading in _readings(watch, model, file, device):
                figures |= reading.scalars
                forms |= {layer: LayerForm(**form) for layer, form in reading.forms.items()}
        checkpoint_hash, head_hash = file.hashes()
        points.append(ProbedStep(step=file.step, checkpoint_hash=checkpoint_hash, head_hash=head_hash, figures=figures))
        tell(file)
    return points, forms


def _readings(watch: Watch, model: RunModel, file: StepFile, device: str) -> list[Reading]:
    """One pass for all monitors of the same images, as in training."""
    nobody: Any = None  # no Trainer: categories are the monitors' own
    for monitor in watch.monitors if file.step == 0 else ():
        monitor.followed.begin(model)
    collectors = [m.collector(nobody, model, m.layers_of(model), Share()) for m in watch.monitors]
    where = torch.device(device)
    found = run_pass(collectors, model, watch.images.batches, None, lambda batch: batch_to(batch, where))
    readings = []
    for monitor, plain in zip(watch.monitors, found, strict=True):
        reading, past = plain.prefixed(monitor.prefix), monitor.history
        follow_outliers_since(reading, past[-1].get("indices") if past else None)
        monitor.history.append(reading.entry(0, file.step))
        readings.append(reading)
    return readings


def agreement(points: Sequence[ProbedStep], curves: Any) -> Agreement | None:
    """Compare with what the run's monitors logged.

    Args:
        points: What was measured.
        curves: The run's `signatures.csv`.

    Returns:
        How far both are apart; None where no figure of one step is in both.

    Raises:
        UserError: If the file is no curve file.
    """
    logged = {(row.step, row.tag): row.value for row in read_curves(curves)}
    apart = {
        (point.step, tag): _relative(value, logged[point.step, tag])
        for point in points
        for tag, value in point.figures.items()
        if (point.step, tag) in logged
    }
    return _worst(apart) if apart else None


def _relative(a: float, b: float) -> float:
    """|a − b| / max(|a|, |b|); 0 where both are equal or both NaN, infinite where one alone is NaN."""
    if a == b or (a != a and b != b):
        return 0.0
    difference = abs(a - b) / max(abs(a), abs(b))
    return difference if difference == difference else float("inf")


def _worst(apart: Mapping[tuple[int, str], float]) -> Agreement:
    (step, tag), largest = max(apart.items(), key=lambda item: item[1])
    count, steps = len(apart), len({step for step, _ in apart})
    if largest == 0.0:
        return Agreement(figures=count, steps=steps, largest=0.0)
    return Agreement(figures=count, steps=steps, largest=largest, tag=tag, step=step)
