"""Every monitor's figures at every point of a Wise-FT path."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from lightning_robust.callbacks.kurtosis import follow_outliers_since
from lightning_robust.callbacks.monitor import SignatureMonitor, monitors_of
from lightning_robust.callbacks.parts import parts_of
from lightning_robust.callbacks.shared_pass import measure_with, same_pass
from lightning_robust.callbacks.sources import VALIDATION, Images
from lightning_robust.callbacks.together import Together
from lightning_robust.models.interpolate import interpolate_into


def measure_path(
    trainer: Trainer,
    pl_module: LightningModule,
    module: nn.Module,
    theta0: Mapping[str, Tensor],
    theta1: Mapping[str, Tensor],
    alphas: Sequence[float],
    reference: Any,
    together: Together | None = None,
) -> list[dict[str, float]]:
    """Measure; monitors that watch the validation images look at test images here.

    Args:
        trainer: The Trainer, with its monitors.
        pl_module: What they watch.
        module: The part of it that is interpolated; it holds θ1 afterwards, also when a measurement raises.
        theta0: State before finetuning.
        theta1: State after it.
        alphas: The positions on the path.
        reference: Test images of the reference; of several processes each has its own stretch of them.
        together: The processes that share the images; None is one process.

    Returns:
        Figures by tag for each α.
    """
    groups: list[list[SignatureMonitor]] = []
    for monitor in monitors_of(trainer):
        group = next((group for group in groups if same_pass(group[0], monitor)), None)
        if group is None:
            groups.append([monitor])
        else:
            group.append(monitor)
    watched = {f"images of monitor group {k}": _images_of(group[0], trainer) for k, group in enumerate(groups, 1)}
    own = parts_of({name: images for name, images in watched.items() if images is not None}, together or Together())
    state = module.state_dict()
    rows, start = [], dict[str, dict[str, list[int]]]()  # outlier features at α = 0
    try:
        for alpha in alphas:
            with torch.no_grad():
                interpolate_into(state, theta0, theta1, alpha)
            scalars: dict[str, float] = {}
            for name, monitors in zip(watched, groups, strict=True):
                readings = measure_with(monitors, trainer, pl_module, own.get(name, reference), together=together)
                for monitor, reading in zip(monitors, readings, strict=True):
                    follow_outliers_since(reading, start.setdefault(monitor.state_key, reading.indices))
                    scalars.update(reading.scalars)
            rows.append(scalars)
    finally:
        with torch.no_grad():
            interpolate_into(state, theta0, theta1, 1.0)
    return rows


def _images_of(monitor: SignatureMonitor, trainer: Trainer) -> Images | None:
    """Images of the monitor's own; None where it watches the validation."""
    listens = isinstance(monitor.images, str) and monitor.images == VALIDATION
    return None if listens else Images(trainer, monitor.images, whole=True)
