"""What a batch of one cannot do: be contrasted, and be normalised by its own statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_warn

_TORCH_SAYS = "more than 1 value per channel"


def warn_of_lone_pair(n: int) -> None:
    """Warn of a batch that InfoNCE contrasts with nothing.

    Args:
        n: Pairs in the batch of all processes.
    """
    if n == 1:
        rank_zero_warn(
            "A batch is one pair: InfoNCE contrasts it with nothing, so that its loss and gradients are 0 and nothing "
            "is learnt from it; take a larger batch_size, or drop_last=True if it is what an epoch leaves over."
        )


@contextmanager
def batch_norm_of(n: int) -> Iterator[None]:
    """Turn torch's refusal to normalise a single value into a sentence that says what would work.

    Args:
        n: Images that are encoded at once inside.

    Raises:
        ValueError: Where batch norm in train mode gets one value for each channel: one image whose map is one pixel.
    """
    try:
        yield
    except ValueError as error:
        if _TORCH_SAYS not in str(error):
            raise
        raise ValueError(
            f"Batch norm cannot normalise {n} image alone, which has one value for each channel: take a batch_size "
            "that leaves no batch of one image on a process, or drop_last=True, and a chunk_size of 3 or more, if any."
        ) from error
