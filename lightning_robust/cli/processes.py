"""One command on several processes, as torchrun starts them: who is first, and collecting what each found."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Processes", "processes"]


@dataclass(frozen=True)
class Processes:
    """This process among its fellows.

    Attributes:
        rank: place of this process, 0 the first.
        world: how many there are.
        local: place on this machine, for the choice of a GPU.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def gather(self, found: Any) -> list[Any]:
        """What every process found, by rank, on every process.

        Args:
            found: Plain values, arrays or tensors of the CPU.
        """
        if self.world == 1:
            return [found]
        from torch import distributed

        everything: list[Any] = [None] * self.world
        distributed.all_gather_object(everything, found)
        return everything

    def agree(self, value: Any) -> Any:
        """The value of the first process, on every process.

        Args:
            value: A plain value; that of the others is not looked at.
        """
        return self.gather(value)[0]


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, for the block; without it there is one.

    Example:
        >>> with processes() as here:
        ...     here.first, here.gather(3)
        (True, [3])
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    from torch import distributed

    distributed.init_process_group("gloo")  # plain values are gathered, so that CPU and GPU go the same way
    try:
        yield Processes(distributed.get_rank(), world, int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        distributed.destroy_process_group()
