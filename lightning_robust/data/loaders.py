"""A training loader whose order is a function of (seed, epoch) and whose place can be saved and resumed.

Lightning stores no random state and restarts a plain loader at its first batch, silently. Here the order and every
augmentation depend on (seed, epoch, index) alone, and the loader carries its batch position into the checkpoint. For
evaluation there is a sampler that gives every image to one process and to no second one.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class Place(NamedTuple):
    """Which image is asked for, and in which epoch: all that an augmentation may depend on beside the seed."""

    item: int
    epoch: int


#: From a generator to an order of all samples, `(n,)` int64.
Order = Callable[[torch.Generator], Tensor]
#: So many indices become Python numbers at once: those of a large set would take gigabytes.
_AT_ONCE = 1 << 16
#: Where nothing is resumed.
_NO_PLACE = {"epoch": -1, "batches": 0, "world_size": 1}


class EpochSampler(DistributedSampler[Any]):
    """A permutation of the data set for each epoch, split over ranks; yields `Place`s.

    Args:
        dataset: Data set of known length.
        seed: Seed of the permutations, the same on all ranks.
        shuffle: Whether to permute at all.
        order: Draws the permutation; None takes any with equal probability.
    """

    def __init__(self, dataset: Dataset[Any], seed: int, *, shuffle: bool = True, order: Order | None = None) -> None:
        started = distributed.is_available() and distributed.is_initialized()
        world, rank = (distributed.get_world_size(), distributed.get_rank()) if started else (1, 0)
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=shuffle, seed=seed, drop_last=True)
        self.skip, self._order = 0, order

    def __iter__(self) -> Iterator[Any]:
        n = len(self.dataset)  # type: ignore[arg-type]
        order = torch.arange(n)
        if self.shuffle:
            generator = torch.Generator().manual_seed(_order_seed(self.seed, self.epoch))
            order = torch.randperm(n, generator=generator) if self._order is None else self._order(generator)
        mine = order[self.rank : self.num_samples * self.num_replicas : self.num_replicas]
        for some in mine[self.skip :].split(_AT_ONCE):
            for index in some.tolist():
                yield Place(index, self.epoch)


class UnrepeatedSampler(DistributedSampler[Any]):
    """The data set in its order, split over ranks without padding: every image is seen once, by one rank.

    Rank r of R gets images r, r + R, r + 2R …, so ranks differ by one image at most. Lightning leaves it alone, where
    it would replace a plain sampler by one that repeats images until every rank has equally many.

    Args:
        dataset: Data set of known length.

    Raises:
        ValueError: If there are fewer images than ranks: Lightning's validation loop needs a batch on each.

    Example:
        >>> list(UnrepeatedSampler([10, 11, 12]))
        [0, 1, 2]
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        started = distributed.is_available() and distributed.is_initialized()
        world, rank = (distributed.get_world_size(), distributed.get_rank()) if started else (1, 0)
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=False)
        n = len(dataset)  # type: ignore[arg-type]
        if n < world:
            raise ValueError(f"{n} images leave some of {world} processes without any; take more images")
        self.total_size, self.num_samples = n, len(range(rank, n, world))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.total_size, self.num_replicas))


def _order_seed(seed: int, epoch: int) -> int:
    return seed * 1_000_003 + epoch


class ResumableLoader(DataLoader[Any]):
    """A `DataLoader` over an `EpochSampler` that implements `state_dict` and `load_state_dict`.

    The state is `{"epoch", "batches", "batch_size", "world_size"}`: batches already handed out in that epoch, on each
    of so many processes. It counts batches that the training loop has received, so workers that run ahead do not
    matter. Samples that do not fill a batch are left out. The seeds of worker processes are a function of (seed, epoch)
    too, and torch's global generator is never drawn from.

    Args:
        dataset: Map-style data set; its `__getitem__` gets a `Place`.
        batch_size: Images in a batch, on each rank.
        seed: Seed of the order.
        shuffle: Whether the order is permuted in every epoch.
        num_workers: Worker processes.
        collate_fn: Makes a batch of a list of samples; None stacks them.
        order: See `EpochSampler`.

    Raises:
        ValueError: If the data set does not fill one batch on each rank.
    """

    def __init__(
        self, dataset: Dataset[Any], *, batch_size: int, seed: int, shuffle: bool = True, num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None, order: Order | None = None,
    ) -> None:  # fmt: skip
        sampler = EpochSampler(dataset, seed, shuffle=shuffle, order=order)
        if len(sampler) < batch_size:
            ranks = f" on {sampler.num_replicas} ranks" if sampler.num_replicas > 1 else ""
            raise ValueError(
                f"{len(dataset)} images{ranks} do not fill a batch of {batch_size}; "  # type: ignore[arg-type]
                "take more images or a smaller batch"
            )
        super().__init__(
            dataset, batch_size=batch_size, sampler=sampler, num_workers=num_workers, drop_last=True,
            generator=torch.Generator(), collate_fn=collate_fn,
        )  # fmt: skip
        self._epoch_sampler, self._batches, self._resume = sampler, 0, dict(_NO_PLACE)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        sampler = self._epoch_sampler
        self._batches = self._resume["batches"] if self._resume["epoch"] == sampler.epoch else 0
        if self._batches and (then := self._resume["world_size"]) != sampler.num_replicas:
            raise ValueError(
                f"The checkpoint lies inside an epoch of training on {then} {_processes(then)}, here there are "
                f"{sampler.num_replicas}: images would be left out or come twice; resume on {then} {_processes(then)}, "
                "or from the end of an epoch"
            )
        self._resume = dict(_NO_PLACE)
        sampler.skip = self._batches * (self.batch_size or 1)
        self.generator.manual_seed(_order_seed(sampler.seed, sampler.epoch))  # workers' seeds are drawn from it
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The place in the data: epoch and batches handed out; a loaded place until the first batch after it."""
        going_on = self._resume["epoch"] >= 0
        place = self._resume if going_on else {"epoch": self._epoch_sampler.epoch, "batches": self._batches}
        return {"world_size": self._epoch_sampler.num_replicas, **place, "batch_size": self.batch_size or 1}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the stored batch, if the next epoch that is iterated is the stored one.

        States without `world_size`, as they once were, are taken to be of as many processes as there are.

        Raises:
            ValueError: If the batches were of another size: their number would be another place in the data. While
                iterating the stored epoch, if there were more processes or fewer.
        """
        if (stored := state.get("batch_size", self.batch_size)) != self.batch_size:
            raise ValueError(
                f"The checkpoint was trained with batches of {stored} images, here they are of {self.batch_size}: its "
                f"place in the data cannot be found; resume with batch_size {stored}"
            )
        world = state.get("world_size", self._epoch_sampler.num_replicas)
        self._resume = {"epoch": state["epoch"], "batches": state["batches"], "world_size": world}


def _processes(n: int) -> str:
    return "process" if n == 1 else "processes"
