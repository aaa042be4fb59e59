"""Every monitor's figures at every point of a Wise-FT path."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from lightning_robust.callbacks.kurtosis import follow_outliers_since
from lightning_robust.callbacks.monitor import SignatureMonitor, monitors_of
from lightning_robust.callbacks.shared_pass import measure_with, same_pass
from lightning_robust.callbacks.sources import VALIDATION, Images
from lightning_robust.models.interpolate import interpolate_into


def measure_path(
    trainer: Trainer,
    pl_module: LightningModule,
    module: nn.Module,
    theta0: Mapping[str, Tensor],
    theta1: Mapping[str, Tensor],
    alphas: Sequence[float],
    reference: Any,
) -> list[dict[str, float]]:
    """Measure; monitors that watch the validation images look at test images here.

    Args:
        trainer: The Trainer, with its monitors.
        pl_module: What they watch.
        module: The part of it that is interpolated; it holds θ1 afterwards, also when a measurement raises.
        theta0: State before finetuning.
        theta1: State after it.
        alphas: The positions on the path.
        reference: Test images of the reference.

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
    state = module.state_dict()
    rows, start = [], dict[str, dict[str, list[int]]]()  # outlier features at α = 0
    try:
        for alpha in alphas:
            with torch.no_grad():
                interpolate_into(state, theta0, theta1, alpha)
            scalars: dict[str, float] = {}
            for monitors in groups:
                watched = monitors[0].images
                listens = isinstance(watched, str) and watched == VALIDATION
                images = reference if listens else Images(trainer, watched, whole=True)
                for monitor, reading in zip(monitors, measure_with(monitors, trainer, pl_module, images), strict=True):
                    follow_outliers_since(reading, start.setdefault(monitor.state_key, reading.indices))
                    scalars.update(reading.scalars)
            rows.append(scalars)
    finally:
        with torch.no_grad():
            interpolate_into(state, theta0, theta1, 1.0)
    return rows
