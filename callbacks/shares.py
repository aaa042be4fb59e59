"""Which images of a loader are this process's own: in a distributed run none may be counted twice, and none left out.

Lightning's sampler repeats images until every process has equally many. Which positions are repeats follows from the
sampler's sizes, so they can be left out of every figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from torch import Tensor, distributed
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from lightning_robust.errors import UserError

_PADDING: Final = (DistributedSampler.__iter__, DistributedSamplerWrapper.__iter__)


@dataclass(frozen=True)
class Share:
    """One process's part of a loader's images.

    Attributes:
        spread: Whether other processes have other images, so that figures are merged over all.
        known: Whether that is certain; otherwise images may count twice.
        rank: Position of this process.
        world: Processes that share the images.
        total: Different images of all processes together; None where no repeat is possible.
        own: Images that the sampler gives to this process, repeats included.
        batch: Images in each batch but the last.
    """

    spread: bool = False
    known: bool = True
    rank: int = 0
    world: int = 1
    total: int | None = None
    own: int = 0
    batch: int = 1

    def kept(self, number: int) -> Tensor | None:
        """Which images of the batch with this number count: None for all, else a mask `(n,)`.

        Args:
            number: Of the batch in its loader, from 0.
        """
        if self.total is None:
            return None
        places = torch.arange(number * self.batch, min((number + 1) * self.batch, self.own))
        mask = self.rank + places * self.world < self.total
        return None if bool(mask.all()) else mask


def share_of(loader: Any, world: int, *, watched: bool) -> Share:
    """Find out how the processes of a distributed run share a loader's images.

    Args:
        loader: Batches.
        world: Number of processes.
        watched: Whether it is Lightning's validation loader, rather than images of the monitor's own, which every
            process reads whole unless their sampler is a distributed one.
    """
    if world == 1:
        return Share()
    unknown = Share(spread=watched, known=not watched)
    if not isinstance(loader, DataLoader):
        return unknown
    batches = loader.batch_sampler
    if isinstance(loader.dataset, IterableDataset) or type(batches) is not BatchSampler:
        return unknown
    sampler: Any = batches.sampler
    if type(sampler) in (SequentialSampler, RandomSampler):
        return Share()  # each process has them all
    if not isinstance(sampler, DistributedSampler):
        return unknown
    if sampler.num_replicas == 1:
        return Share()
    shared: Any = sampler.dataset
    images = len(shared)
    if sampler.total_size <= images:
        return Share(spread=True)
    if type(sampler).__iter__ not in _PADDING:
        return Share(spread=True, known=False)
    own, batch = sampler.num_samples, batches.batch_size
    return Share(True, True, sampler.rank, sampler.num_replicas, images, own, batch)


def kept_rows(h: Tensor, mask: Tensor | None, layer: str) -> Tensor:
    """Leave out the rows of repeated images.

    Args:
        h: `(n, …)`, or `(n·t, d)` where each of an image's t tokens is a row.
        mask: Which of the n images count; None for all.
        layer: For the error.

    Raises:
        UserError: If the rows are not a whole number for each image.
    """
    if mask is None:
        return h
    each, rest = divmod(len(h), len(mask))
    if rest or each == 0:
        raise UserError(
            f"layer {layer!r} gave {len(h)} rows for {len(mask)} images, so those that Lightning's sampler repeats "
            "cannot be left out; give the validation loader a sampler without repeats (data.UnrepeatedSampler)"
        )
    return h[mask.repeat_interleave(each).to(h.device)]


def over_ranks(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What every process found, in the order of ranks; each has to call this.

    Args:
        found: Plain values.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [found]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, found)
    return gathered


def from_rank(value: Any, rank: int) -> Any:
    """One process's value, on all; each has to call this."""
    held = [value]
    distributed.broadcast_object_list(held, src=rank)
    return held[0]
