"""Spearman's rank correlation."""

import math
from collections.abc import Collection
from typing import SupportsFloat

import numpy as np
from numpy.typing import NDArray

__all__ = ["rank_correlation"]


def rank_correlation(x: Collection[SupportsFloat], y: Collection[SupportsFloat]) -> tuple[float, int]:
    """Pearson's correlation of the ranks, ties sharing their mean rank (Spearman 1904).

    Args:
        x: One value for each point.
        y: As many. Points at which either is NaN are left out.

    Returns:
        The correlation in [−1, 1], NaN for fewer than three points or where one side never changes; and the number of
        points that it is of.

    Raises:
        ValueError: If their numbers differ.

    Example:
        >>> rank_correlation([1.0, 2.0, 3.0, 9.0], [2.0, 4.0, 8.0, 7.0])
        (0.8, 4)
    """
    if len(x) != len(y):
        raise ValueError(f"x and y have one value for each point, got {len(x)} and {len(y)}")
    pairs = np.array([[float(a), float(b)] for a, b in zip(x, y, strict=True)], dtype=np.float64).reshape(-1, 2)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    n = len(pairs)
    if n < 3:
        return math.nan, n
    a, b = (_ranks(pairs[:, k]) - 0.5 * (n + 1) for k in range(2))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return (float(a @ b) / scale if scale > 0 else math.nan), n


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = last - 0.5 * (counts - 1)
    return mean[inverse]
