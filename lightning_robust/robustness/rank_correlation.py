"""Spearman's rank correlation, and the ranks that others are made of."""

import math
from collections.abc import Collection
from typing import SupportsFloat

import numpy as np
from jaxtyping import Float

__all__ = ["centred_ranks", "rank_correlation"]


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
    a, b = (centred_ranks(pairs[:, k], np.ones((1, n)))[0] for k in range(2))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return (float(a @ b) / scale if scale > 0 else math.nan), n


def centred_ranks(values: Float[np.ndarray, "n"], counts: Float[np.ndarray, "R n"]) -> Float[np.ndarray, "R n"]:
    """Ranks less their mean in samples that hold some values several times, or not at all; ties share their mean rank.

    Args:
        values: One for each row; none is NaN.
        counts: How often each sample holds each row.

    Returns:
        Of each row how much of each sample lies below it, half of what is equal included, less half of the sample:
        exact where counts are whole numbers.

    Example:
        >>> centred_ranks(np.array([3.0, 1.0, 3.0]), np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])).tolist()
        [[0.5, -1.0, 0.5], [0.5, -1.0, 0.5]]
    """
    _, place, sizes = np.unique(values, return_inverse=True, return_counts=True)
    equal = np.add.reduceat(counts[:, np.argsort(place, kind="stable")], np.cumsum(sizes) - sizes, axis=1)
    middle = np.cumsum(equal, axis=1) - equal / 2
    return np.ascontiguousarray((middle - equal.sum(axis=1, keepdims=True) / 2)[:, place])  # sums go by the layout
