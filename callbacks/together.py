"""Processes that do one long piece of work together: Lightning's own barrier gives up after half an hour."""

import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, TypeVar

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor, distributed

from lightning_robust.errors import UserError

LONGEST: Final = timedelta(days=365)
T = TypeVar("T")


class Together:
    """A group of all processes, over gloo on the CPUs, whatever the training runs on; without a Trainer, one process.

    A process that ends meanwhile closes its connections, and whoever waits for it ends with an error. Made before
    training, so that a machine without gloo is known before it.

    Args:
        trainer: The Trainer, once its processes have met; all of them make the group at the same time.

    Attributes:
        rank: Place of this process, 0 the first.
        world: How many processes there are; 1 also where they cannot exchange anything.
    """

    def __init__(self, trainer: Trainer | None = None) -> None:
        self._strategy = None if trainer is None else trainer.strategy
        self._group = None if trainer is None else _group(trainer)
        grouped = trainer is not None and self._group is not None
        self.rank, self.world = (trainer.global_rank, trainer.world_size) if trainer and grouped else (0, 1)

    def meet(self) -> None:
        """Wait until every process is here."""
        if self._group is not None:
            distributed.barrier(group=self._group)
        elif self._strategy is not None:
            self._strategy.barrier()

    def each(self, find: Callable[[], T]) -> list[T]:
        """What a function gives on every process, by rank; each has to call this, and none inside `find`.

        Args:
            find: Gives a value that can be pickled, tensors on the CPU.

        Raises:
            Exception: What `find` raised here.
            UserError: If it raised a `UserError` or `ValueError` on another process alone; it names that process.
            RuntimeError: If it raised anything else there.
        """
        if self.world == 1:
            return [find()]
        value, raised = None, None
        try:
            value = find()
        except Exception as error:
            raised = error
        told = None if raised is None else (isinstance(raised, UserError | ValueError), _in_words(raised))
        gathered: list[Any] = [None] * self.world
        distributed.all_gather_object(gathered, (value, told), group=self._group)
        if raised is not None:
            raise raised
        for rank, (_, other) in enumerate(gathered):
            if other is not None:
                kind = UserError if other[0] else RuntimeError
                raise kind(f"process {rank} ended with: {other[1]}")
        return [found for found, _ in gathered]

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the first process, bitwise; each has to call this.

        Args:
            tensors: As many, of the same shapes and dtypes, on every process.
        """
        if self.world == 1:
            return
        for tensor in tensors:
            held = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            if held.numel():  # bytes: gloo does not know every dtype
                distributed.broadcast(held.reshape(-1).view(torch.uint8), src=0, group=self._group)
            if self.rank:
                overwrite(tensor, held)

    def draw_alike(self) -> None:
        """Give every process the random states of the first: data modules may draw when they make their loaders."""
        states = self.each(lambda: (random.getstate(), np.random.get_state(), torch.get_rng_state()))  # noqa: NPY002
        if self.rank:
            python, numpy, cpu = states[0]
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - the global one
            torch.set_rng_state(cpu)


def overwrite(tensor: Tensor, value: Tensor) -> None:
    """Write values into a tensor, no gradient kept; also into one that was made in inference mode, as buffers may be.

    Args:
        tensor: Is written.
        value: Of its shape.
    """
    with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
        tensor.copy_(value)


def _in_words(error: Exception) -> str:
    words = " ".join(str(error).split())
    return words if isinstance(error, UserError | ValueError) and words else f"{type(error).__name__}: {words}"


def _group(trainer: Trainer) -> Any:
    if trainer.world_size > 1 and distributed.is_available() and distributed.is_initialized():
        return distributed.new_group(backend="gloo", timeout=LONGEST)
    return None
