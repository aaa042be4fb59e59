"""A shuffle that keeps together what lies together: blocks first, then pairs within a window of blocks."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

__all__ = ["WINDOW", "windowed_order"]

#: So many pairs at least are shuffled among each other.
WINDOW = 20_000


def windowed_order(blocks: Sequence[int], window: int = WINDOW) -> Callable[[Generator], Tensor]:
    """Order pairs such that only a few blocks are read at a time.

    The blocks (tar shards) are permuted and taken in groups of at least `window` pairs (the last group may hold
    fewer); the pairs of a group are permuted as a whole. With one block, or fewer pairs than a window, any order of all
    pairs is equally likely.

    Args:
        blocks: Pairs in each block; the pairs of a block follow each other.
        window: Least number of pairs in a group.

    Returns:
        From a generator to an order of all pairs, `(n,)` int64.

    Example:
        >>> order = windowed_order([2, 2, 2], window=2)(Generator().manual_seed(0))
        >>> sorted(order.tolist())
        [0, 1, 2, 3, 4, 5]
        >>> [{int(i) // 2 for i in pair} for pair in order.split(2)]  # one block after the other
        [{2}, {0}, {1}]
    """
    sizes = torch.as_tensor(list(blocks), dtype=torch.int64)
    starts = sizes.cumsum(0) - sizes

    def order(generator: Generator) -> Tensor:
        parts: list[Tensor] = []
        group: list[Tensor] = []
        held = 0
        turns = torch.randperm(len(sizes), generator=generator).tolist()
        for place, block in enumerate(turns):
            group.append(torch.arange(int(starts[block]), int(starts[block] + sizes[block])))
            held += int(sizes[block])
            if held >= window or place == len(turns) - 1:
                whole = torch.cat(group)
                parts.append(whole[torch.randperm(held, generator=generator)])
                group, held = [], 0
        return torch.cat(parts)

    return order
