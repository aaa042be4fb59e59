"""Batches shared by several processes: rows of all of them, with the gradients that belong to each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def process_count() -> int:
    """Number of processes that train together; 1 outside a distributed run."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def of_all_processes(rows: Tensor) -> Tensor:
    """Gather the rows of all processes, in the order of their ranks; every process has to call it.

    The gradient of a row is the sum of what all processes ask of it, and arrives where the row came from. So where each
    process's loss is the mean over its own rows, gradients averaged over processes (as DistributedDataParallel and FSDP
    do) are those of the mean over the whole batch.

    A process sends and receives `(processes − 1) / processes` of the gathered bytes forwards, and as many backwards.

    Args:
        rows: Of this process, `(n, …)`; as many on every process, see `own_rows`.

    Returns:
        `(processes · n, …)`; on one process the rows themselves.
    """
    if process_count() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def own_rows(n: int, device: torch.device) -> slice:
    """Where this process's rows lie among those of all; every process has to call it.

    Args:
        n: Number of rows of this process.
        device: Where the processes exchange their counts: that of the rows.

    Returns:
        A slice; of everything on one process.

    Raises:
        ValueError: On every process, if they do not have equally many rows: gathering would mix them up, and the mean
            over processes would not be that over the batch.
    """
    if process_count() == 1:
        return slice(None)
    counts = of_all_processes(torch.tensor([n], device=device)).tolist()
    if len(set(counts)) > 1:
        raise ValueError(
            f"The processes share a batch in parts of {counts} pairs, and equal parts are needed: set drop_last=True "
            "in the training's loader, or a sampler that gives every process as many."
        )
    first = n * distributed.get_rank()
    return slice(first, first + n)


class _Gather(torch.autograd.Function):
    """torch's own differentiable collectives are on their way out, and those to come are not in every version yet."""

    @staticmethod
    def forward(_: Any, rows: Tensor) -> Tensor:
        found = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(process_count())]
        distributed.all_gather(found, rows.contiguous())
        return torch.cat(found)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        parts = list(gradients[0].contiguous().chunk(process_count()))
        own = torch.empty_like(parts[0])
        distributed.reduce_scatter(own, parts)
        return own
