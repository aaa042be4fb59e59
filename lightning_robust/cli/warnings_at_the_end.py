"""Warnings of a command: each once, as a sentence, below the progress."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_robust.cli.processes import Processes

__all__ = ["warnings_at_the_end"]


@contextmanager
def warnings_at_the_end(here: Processes) -> Iterator[None]:
    """Keep what is warned about in the block, and say it after it.

    Args:
        here: This process among its fellows; the first prints.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        yield
    if here.first:
        for sentence in dict.fromkeys(str(one.message) for one in said if issubclass(one.category, UserWarning)):
            print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
