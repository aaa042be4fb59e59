"""The weights of the first process on all: buffers, of batch norm above all, differ between them after training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor

from lightning_robust.callbacks.together import Together, overwrite
from lightning_robust.errors import UserError


def check_whole_weights(trainer: Trainer) -> None:
    """Refuse a strategy under which no process has all the weights: a part cannot be interpolated, written or judged.

    Args:
        trainer: The Trainer.

    Raises:
        UserError: Under FSDP, model parallelism, or the third stage of DeepSpeed, with more than one process.
    """
    strategy = trainer.strategy
    third = isinstance(strategy, DeepSpeedStrategy) and strategy.zero_stage_3
    if trainer.world_size > 1 and (third or isinstance(strategy, FSDPStrategy | ModelParallelStrategy)):
        raise UserError(
            f"WiseFT interpolates whole weights, and with {type(strategy).__name__} each process has a part of them: "
            "train with strategy ddp, or leave WiseFT out and give checkpoints from before and after training to the "
            "command interpolate"
        )


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
    try:
        together.take_from_first(before.values())
        together.take_from_first(tensors)
        yield before
    finally:
        for tensor, value in zip(tensors, own, strict=False):  # none on the first
            overwrite(tensor, value)


def _tensors(module: LightningModule) -> dict[str, Tensor]:
    """All of them, those too that no state dict has."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
