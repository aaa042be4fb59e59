"""`CaptionedSource`: images with captions, whatever they were read from; several of them as one, or a part of one."""

import bisect
import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["CaptionedSource", "ChosenPairs", "JoinedPairs"]


class CaptionedSource(Protocol):
    """Image–caption pairs by number."""

    @property
    def source(self) -> str:
        """What they were read from and how, with a digest, for the record of a result."""

    @property
    def blocks(self) -> Sequence[int]:
        """How many pairs lie together, block after block; their sum is the number of pairs."""

    def __len__(self) -> int:
        """The number of pairs."""

    def open(self, index: int) -> tuple[Image.Image, tuple[str, ...]]:
        """Image `index` in RGB, and its captions, one at least.

        Raises:
            UnreadableImageError: If the image or its caption is missing or damaged.
        """


class JoinedPairs:
    """Several sources one after the other.

    Args:
        sources: The sources.
    """

    def __init__(self, sources: Sequence[CaptionedSource]) -> None:
        self.sources = list(sources)
        self.source = "; ".join(source.source for source in self.sources)
        self.blocks = [block for source in self.sources for block in source.blocks]
        self._ends = list(itertools.accumulate(len(source) for source in self.sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def open(self, index: int) -> tuple[Image.Image, tuple[str, ...]]:
        """See `CaptionedSource`."""
        which = bisect.bisect_right(self._ends, index)
        source = self.sources[which]
        return source.open(index - self._ends[which] + len(source))


class ChosenPairs:
    """Some of the pairs of a source, in their order.

    Args:
        pairs: All of them.
        chosen: Which, ascending.
        note: What to add to `source`.
    """

    def __init__(self, pairs: CaptionedSource, chosen: NDArray[np.int64], note: str) -> None:
        self.pairs, self.chosen, self.source = pairs, chosen, f"{pairs.source}; {note}"
        ends = np.searchsorted(chosen, np.cumsum(pairs.blocks))
        self.blocks = np.diff(ends, prepend=0).tolist()

    def __len__(self) -> int:
        return len(self.chosen)

    def open(self, index: int) -> tuple[Image.Image, tuple[str, ...]]:
        """See `CaptionedSource`."""
        return self.pairs.open(int(self.chosen[index]))
