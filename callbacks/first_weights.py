"""The weights of the first process on all: buffers, of batch norm above all, differ between them after training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy
from torch import Tensor

from lightning_robust.callbacks.together import Together


def why_alone(
    trainer: Trainer, pl_module: LightningModule, theta0: Mapping[str, Tensor], together: Together
) -> str | None:
    """Why one process has to judge for all; None where they can share it. Each process has to call this.

    Args:
        trainer: The Trainer.
        pl_module: What it trained.
        theta0: State before training.
        together: The processes.
    """
    strategy = trainer.strategy
    if trainer.world_size == 1:
        return None
    if together.world < trainer.world_size:
        return "the processes have no group to exchange results in"
    if not isinstance(strategy, DDPStrategy) or isinstance(strategy, DeepSpeedStrategy):
        return f"with {type(strategy).__name__} a process may hold a part of the weights"
    tensors = {**_tensors(pl_module), **{f"before training: {name}": value for name, value in theta0.items()}}
    forms = together.each(lambda: {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()})
    return None if all(form == forms[0] for form in forms) else "buffers differ in form between the processes"


@contextmanager
def weights_of_first(
    pl_module: LightningModule, theta0: Mapping[str, Tensor], together: Together
) -> Iterator[Mapping[str, Tensor]]:
    """Put the first process's parameters and buffers into a module inside; own ones return, also after an error.

    Args:
        pl_module: What was trained.
        theta0: State before training.
        together: The processes.

    Yields:
        The first process's θ0.
    """
    if together.world == 1:
        yield theta0
        return
    tensors = list(_tensors(pl_module).values())
    own = [tensor.detach().cpu().clone() for tensor in tensors] if together.rank else []
    before = {name: value.clone() for name, value in theta0.items()} if together.rank else theta0
    together.take_from_first(before.values())
    together.take_from_first(tensors)
    try:
        yield before
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, own, strict=False):  # none on the first
                tensor.copy_(value)


def _tensors(module: LightningModule) -> dict[str, Tensor]:
    """All of them, those too that no state dict has."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
