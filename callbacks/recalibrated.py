"""Batch norms that a validation sees with the statistics of the weights as they are, not of the steps before."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, distributed, nn

from lightning_robust.callbacks.training_images import first_training_batches
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.batch_norm import batch_norms, recalibrate_batch_norm


class RecalibratedStatistics:
    """Puts recomputed running statistics into the batch norms of a module, and takes them out again.

    A running mean and variance follow the weights with a momentum of 0.1, so that they are those of some fifty steps
    ago, and of no images at all before training: 0 and 1. Until they have caught up, whatever is measured in eval mode
    shows them and not the weights. Here they are recomputed over the first training images of the first epoch, as
    `models.recalibrate_batch_norm` does. Training never reads them, and gets its own back, so that it stays bitwise
    what it was. Batch norms that are in eval mode while training are frozen, and stay as they are.

    Under several processes each runs its share of the images, and the moments are merged.

    Args:
        images: Training images to run, those of all processes together; with 0 nothing is recomputed.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self._before: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def convention(self) -> str:
        """Which statistics are measured, in words."""
        if not self.images:
            return "running statistics of batch norms, if there are any: as training left them"
        return (
            f"running statistics of batch norms: recomputed at every step over {self.images:,} training images, in the "
            "step checkpoints too"
        )

    @contextmanager
    def around(self, trainer: Trainer, module: LightningModule) -> Iterator[None]:
        """Have recomputed statistics in place inside, and afterwards what was there before.

        Args:
            trainer: The Trainer.
            module: Its LightningModule, outside a validation or inside one that began with `put`.
        """
        already = bool(self._before)
        self.put(trainer, module)
        try:
            yield
        finally:
            if not already:
                self.take_out(module)

    def put(self, trainer: Trainer, module: LightningModule) -> None:
        """Recompute the statistics, outside a validation; nothing happens where they are in place.

        Raises:
            UserError: If the training images cannot be run through the module.
        """
        if self._before or not self.images:
            return
        layers = trained_batch_norms(module)
        if not layers:
            return
        before = {name: (layer.running_mean.clone(), layer.running_var.clone()) for name, layer in layers.items()}
        share = math.ceil(self.images / trainer.world_size)
        with first_training_batches(trainer) as batches, from_user(ValueError):
            recalibrate_batch_norm(module, batches, run=_forward(trainer), max_images=share, layers=layers)
        if trainer.world_size > 1:
            _merge(layers)
        self._before = before

    def saved(self, checkpoint: dict[str, Any]) -> None:
        """Put training's statistics into a checkpoint that is written while recomputed ones are in place.

        Args:
            checkpoint: Lightning's, with the weights under `state_dict`; changed in place.
        """
        for name, (mean, variance) in self._before.items():
            checkpoint["state_dict"] |= {f"{name}.running_mean": mean.clone(), f"{name}.running_var": variance.clone()}

    def take_out(self, module: nn.Module) -> None:
        """Give training its statistics back."""
        before, self._before = self._before, {}
        with torch.no_grad():
            for name, (mean, variance) in before.items():
                layer: Any = module.get_submodule(name)
                layer.running_mean.copy_(mean)
                layer.running_var.copy_(variance)


def trained_batch_norms(module: nn.Module) -> dict[str, Any]:
    """The batch norms whose running statistics training changes, by name.

    Args:
        module: In the modes that it is trained in.
    """
    return {name: layer for name, layer in batch_norms(module).items() if layer.training}


def untouched_batch_norms(module: nn.Module) -> bool:
    """Whether there are such batch norms that have seen no batch yet: their statistics are of no images.

    Args:
        module: In the modes that it is trained in.
    """
    return any(
        layer.num_batches_tracked is not None and not int(layer.num_batches_tracked)
        for layer in trained_batch_norms(module).values()
    )


def check_recalibrates(trainer: Trainer, module: LightningModule) -> None:
    """Check, before training, that statistics can be recomputed.

    Raises:
        UserError: If there are none, the weights are averaged, or the module cannot be run on images.
    """
    name = type(module).__name__
    if not trained_batch_norms(module):
        raise UserError(
            f"LogSteps recalibrate= is for batch norms with running statistics, and {name} trains none: leave it out"
        )
    if any(isinstance(callback, WeightAveraging) for callback in getattr(trainer, "callbacks", [])):
        raise UserError(
            "LogSteps recalibrate= does not go with averaged weights, which bring statistics of their own: leave it out"
        )
    if type(module).forward in (LightningModule.forward, nn.Module.forward):
        raise UserError(f"LogSteps recalibrate= runs images through {name}, which has no forward of its own")


def _forward(trainer: Trainer) -> Any:
    context = trainer.precision_plugin.forward_context

    def run(module: nn.Module, images: Tensor) -> None:
        with context():
            module(images)

    return run


def _merge(layers: dict[str, Any]) -> None:
    """Mean and variance of the inputs of all processes, which ran equally many."""
    world = distributed.get_world_size()
    with torch.no_grad():
        for layer in layers.values():
            own, variance = layer.running_mean.double(), layer.running_var.double()
            mean = own.clone()
            distributed.all_reduce(mean)
            mean /= world
            variance += (own - mean).square()
            distributed.all_reduce(variance)
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance / world)
