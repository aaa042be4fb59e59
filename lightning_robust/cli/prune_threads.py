"""Threads that answer pieces of a set side by side: each step of a pruning is too small for torch to share out."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["threads_of"]

Apply = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""As the built-in `map`: results in order."""


@contextmanager
def threads_of(device: torch.device) -> Iterator[Apply]:
    """As many threads as torch has, each with operators of one thread; a GPU and a single thread get the plain `map`.

    Args:
        device: Where the pieces are.
    """
    count = torch.get_num_threads()
    if count == 1 or device.type != "cpu":
        yield map
        return
    pool = ThreadPoolExecutor(count)
    torch.set_num_threads(1)  # of threads that have not begun, too
    try:
        yield pool.map
    finally:
        torch.set_num_threads(count)
        pool.shutdown(wait=True, cancel_futures=True)  # after Ctrl-C what has not begun is left
