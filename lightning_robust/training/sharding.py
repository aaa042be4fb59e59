"""Weights of transformer blocks in shards, with Lightning's `ModelParallelStrategy` (FSDP2); the rest stays whole."""
# ruff: noqa: ARG002 - Lightning reads the arguments of its hooks

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from lightning_robust.errors import UserError

_LISTS = ("resblocks", "blocks")
"""What open_clip and timm call the list of a transformer's blocks."""


class ShardedTraining(LightningModule):
    """A module whose transformer blocks are sharded under `ModelParallelStrategy`; under any other nothing changes.

    Each block is a unit of torch's `fully_shard`: weights, gradients and the optimiser's moments of it lie in equal
    parts on the processes, and are whole on each for the time that the block is computed. All else (embeddings,
    projections, the logit scale) is whole on every process, its gradients averaged after each backward pass, as FSDP
    averages those of the blocks. From the begin of a validation to the next training step weights are whole, as before
    the first step: processes may have unequal numbers of batches, and monitors look at whole matrices.

    Raises:
        UserError: Under `ModelParallelStrategy`, before training, with what cannot work, see `check_shardable`.
    """

    _is_whole = False

    def setup(self, stage: str) -> None:
        """Have the blocks sharded under `ModelParallelStrategy`.

        Under others there is no `configure_model`, which would have `WeightAveraging` warn of shards.
        """
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            self.configure_model = self._shard  # type: ignore[method-assign]

    def _shard(self) -> None:
        """Shard the blocks, once."""
        strategy: Any = self.trainer.strategy
        check_shardable(self.trainer, self)
        mesh = strategy.device_mesh["data_parallel"]
        # torch sends weights and moments of a checkpoint as they lie in memory: in one layout on all processes
        self.to(memory_format=torch.contiguous_format)
        for block in _blocks(self):
            if isinstance(block, FSDPModule):
                return
            # True also for what has no other around it, as here each block
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        self.trainer.callbacks = [_WholeFirst(), *(c for c in callbacks if not isinstance(c, _WholeFirst))]  # type: ignore[attr-defined]
        # torch shards a module for its state dict, and does not undo that
        self.register_state_dict_post_hook(lambda *_: self.make_whole() if self._is_whole else None)

    def on_after_backward(self) -> None:
        """Average the gradients of what is whole; those of blocks are averaged already.

        After every backward pass: the average of what was averaged before is itself, so sums over several are right.
        """
        if not is_sharded(self) or distributed.get_world_size() == 1:
            return
        for parameter in self.parameters():
            if parameter.grad is not None and not isinstance(parameter.grad, DTensor):
                distributed.all_reduce(parameter.grad)
                parameter.grad /= distributed.get_world_size()

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm of all gradients, each counted once, whether sharded or whole."""
        if not is_sharded(self):
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            clip_shards(self.parameters(), float(gradient_clip_val))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of another strategy, whose convolutions lie in memory otherwise.

        Raises:
            UserError: On every process, if it is one.
        """
        states = [each for state in checkpoint.get("optimizer_states", []) for each in state["state"].values()]
        moments = [value for each in states for value in each.values() if isinstance(value, Tensor)]
        if is_sharded(self) and not all(moment.is_contiguous() for moment in moments):
            raise UserError(
                "the checkpoint was written without ModelParallelStrategy: go on with the strategy that it began with"
            )

    def on_validation_model_eval(self) -> None:
        """Make the weights whole before a callback looks at them."""
        super().on_validation_model_eval()
        self.make_whole()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Shard them again, after all callbacks of a validation."""
        if self._is_whole:
            self._is_whole = False
            for block in _sharded_blocks(self):
                block.set_reshard_after_forward(True, recurse=False)
                block.reshard()

    def make_whole(self) -> None:
        """Give every process all weights, until the next training step; every process has to call this."""
        for block in _sharded_blocks(self):
            self._is_whole = True
            block.set_reshard_after_forward(False, recurse=False)
            block.unshard()


class _WholeFirst(Callback):
    """Whole weights before other callbacks measure at the start; a module's own hooks come after theirs, or too early.

    Too early is what comes before a checkpoint is loaded, which needs shards.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, ShardedTraining):
            pl_module.make_whole()


def is_sharded(module: nn.Module) -> bool:
    """Whether a module holds sharded blocks."""
    return any(True for _ in _sharded_blocks(module))


def check_shardable(trainer: Trainer, module: nn.Module) -> None:
    """Refuse what would not work, or not be right, with sharded blocks.

    Args:
        trainer: The Trainer, with `ModelParallelStrategy`.
        module: What it trains.

    Raises:
        UserError: For tensor parallelism, checkpoints in shards, averaged weights, clipping by value, or a
            model without transformer blocks.
    """
    strategy: Any = trainer.strategy
    if strategy.device_mesh["tensor_parallel"].size() > 1:
        wrong = "splits no matrices: set its tensor_parallel_size to 1, data_parallel_size to the number of processes"
    elif strategy._save_distributed_checkpoint:
        wrong = "writes each checkpoint as one file, with whole weights: set its save_distributed_checkpoint to false"
    elif any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        wrong = "averages no weights over the steps: leave the WeightAveraging out, or train with strategy ddp"
    elif trainer.gradient_clip_algorithm == "value":
        wrong = "clips gradients by their norm: set gradient_clip_algorithm to norm"
    elif not _blocks(module):
        wrong = f"shards transformer blocks, and {type(module).__name__}'s model has none: train with strategy ddp"
    else:
        return
    raise UserError(f"ModelParallelStrategy here {wrong}")


@torch.no_grad()
def clip_shards(parameters: Iterator[nn.Parameter], max_norm: float) -> Tensor:
    """Scale gradients, sharded and whole ones, so that their norm is at most a given one; every process has to call it.

    Args:
        parameters: Their gradients are scaled in place.
        max_norm: The largest norm.

    Returns:
        The norm of all gradients before, the same on every process.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    shards = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    whole = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    squares = [torch.stack([part.norm().square() for part in parts]).sum() for parts in (shards, whole) if parts]
    if shards:
        distributed.all_reduce(squares[0])
    norm = torch.stack(squares).sum().sqrt()
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_ has it
    for part in [*shards, *whole]:
        part *= factor
    return norm


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's state with whole tensors on the CPU; where it is sharded every process has to call this.

    Args:
        module: Any module.

    Returns:
        The state; empty on all but the first process where it is sharded.
    """
    sharded = is_sharded(module)
    state = {}
    for name, value in module.state_dict().items():
        state[name] = (value.full_tensor() if isinstance(value, DTensor) else value).detach().cpu()
    return {} if sharded and distributed.get_rank() else state


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The blocks of all transformers; of convolutions there are lists of that name too."""
    lists = [part for name, part in module.named_modules() if name.rpartition(".")[2] in _LISTS]
    blocks = [block for each in lists for block in each.children()]
    return [block for block in blocks if all(1 <= parameter.ndim <= 2 for parameter in block.parameters())]


def _sharded_blocks(module: nn.Module) -> Iterator[FSDPModule]:
    return (part for part in module.modules() if isinstance(part, FSDPModule))
