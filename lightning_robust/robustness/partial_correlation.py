"""Rank correlation of two figures with a third held fixed, or inside groups, with an interval over families."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from lightning_robust.results import Interval
from lightning_robust.robustness.rank_correlation import centred_ranks

__all__ = ["partial_spearman", "partial_within"]

_SMALLEST = 1e-9
"""Share of the variance of ranks that has to be left; below it there is nothing to correlate."""


def partial_spearman(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    family: Int[np.ndarray, "n"],
    *,
    given: Float[np.ndarray, "n"] | None = None,
    groups: Int[np.ndarray, "n"] | None = None,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Spearman's partial correlation: Pearson's of what is left of the ranks of x and y (Kendall 1942).

    Of both, the least-squares line on the ranks of ``given`` and the mean over each of ``groups`` are taken off. Each
    bootstrap replicate has every row of a family as often as that was drawn, and ranks anew. With one row in each of 10
    or 19 families the 95 % interval of Spearman's correlation held the true one in 94 to 97 of 100 simulated cases; of
    a true 0.5 it left out 0 in half of them with 19 families, in a quarter with 10.

    Args:
        x: one value for each row.
        y: the other.
        family: number of the family of each row, from 0 without gaps.
        given: what is held fixed; None for nothing.
        groups: number of the group of each row, from 0; None for one group. Without both it is Spearman's correlation.
        replicates: bootstrap samples.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        In [−1, 1]; NaN where nothing is left of one side.

    Raises:
        ValueError: fewer than three rows.

    Example:
        >>> z = np.arange(8.0)
        >>> x, y = z + 3 * np.tile([0.0, 1.0], 4), z - 3 * np.tile([0.0, 1.0], 4)
        >>> found = partial_spearman(x, y, np.arange(8), given=z)
        >>> found.estimate < -0.8
        True
    """
    _enough(len(x))
    weights = _weights(family, replicates, seed)
    a, b = centred_ranks(x, weights), centred_ranks(y, weights)
    c = None if given is None else centred_ranks(given, weights)
    return _interval(_left_over(a, b, weights, c, groups), replicates, level, seed)


def partial_within(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    family: Int[np.ndarray, "n"],
    given: Float[np.ndarray, "n"],
    *,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The same inside families: ranked in each family, centred there, put together, the line on ``given`` taken off.

    One family alone has too few rows for it.

    Args:
        x: one value for each row.
        y: the other.
        family: number of the family of each row, from 0 without gaps.
        given: what is held fixed.
        replicates: bootstrap samples.
        level: nominal coverage, in (0, 1).
        seed: of the bootstrap.

    Returns:
        In [−1, 1]; NaN where nothing is left of one side, as where a figure follows ``given`` in every family.

    Raises:
        ValueError: fewer than three rows.

    Example:
        >>> z = np.tile([1.0, 2.0, 3.0, 4.0], 2)
        >>> x, y = np.tile([1.0, 3.0, 2.0, 4.0], 2), np.tile([2.0, 1.0, 4.0, 3.0], 2)
        >>> round(partial_within(x, y, np.arange(8) // 4, z).estimate, 3)
        -1.0
    """
    _enough(len(x))
    weights = _weights(family, replicates, seed)
    ranked = np.zeros((3, 1, len(x)))
    for number in range(int(family.max()) + 1):
        inside = family == number
        for place, values in zip(ranked, (x, y, given), strict=True):
            place[:, inside] = centred_ranks(values[inside], np.ones((1, int(inside.sum()))))
    a, b, c = ranked
    return _interval(_left_over(a, b, weights, c, family), replicates, level, seed)


def _enough(rows: int) -> None:
    if rows < 3:
        raise ValueError(f"a correlation needs at least three rows, got {rows}")


def _weights(family: Int[np.ndarray, "n"], replicates: int, seed: int) -> Float[np.ndarray, "S n"]:
    """How often each row is there: once, then in each bootstrap replicate."""
    return _draws(int(family.max()) + 1, replicates, seed)[:, family]


@lru_cache(maxsize=4)  # the figures of a study share it
def _draws(families: int, replicates: int, seed: int) -> Float[np.ndarray, "S F"]:
    """How often each family is there: once, then in each bootstrap replicate."""
    draws = np.random.default_rng(seed).multinomial(families, np.full(families, 1 / families), size=replicates)
    return np.vstack([np.ones((1, families)), draws]).astype(np.float64)


def _left_over(
    a: np.ndarray, b: np.ndarray, weights: np.ndarray, given: np.ndarray | None, groups: np.ndarray | None
) -> Float[np.ndarray, "S"]:
    """Weighted correlation of a and b after groups and the line on ``given``, for each sample."""
    before = [_sum(weights, _centred(side, weights, None)) for side in (a, b)]
    a, b = (_centred(side, weights, groups) for side in (a, b))
    if given is not None:
        c = _centred(given, weights, groups)
        held = (weights * c * c).sum(axis=1, keepdims=True)
        for side in (a, b):
            slope = (weights * side * c).sum(axis=1, keepdims=True)
            side -= np.divide(slope, held, out=np.zeros_like(slope), where=held > 0) * c
    own, other = _sum(weights, a), _sum(weights, b)
    left = (own > _SMALLEST * before[0]) & (other > _SMALLEST * before[1])
    scale = np.sqrt(own * other)
    found: np.ndarray = np.divide((weights * a * b).sum(axis=1), scale, out=np.full(len(weights), np.nan), where=left)
    return found


def _centred(values: np.ndarray, weights: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Less the weighted mean of its group; a row of its own for each sample."""
    numbers = np.zeros(weights.shape[1], dtype=np.int64) if groups is None else groups
    members = (numbers[:, None] == np.arange(int(numbers.max()) + 1)).astype(np.float64)
    totals = weights @ members
    means = np.divide((weights * values) @ members, totals, out=np.zeros_like(totals), where=totals > 0)
    return np.asarray(values - means @ members.T)


def _sum(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.asarray((weights * values * values).sum(axis=1))


def _interval(found: Float[np.ndarray, "S"], replicates: int, level: float, seed: int) -> Interval:
    drawn = found[1:][np.isfinite(found[1:])]
    if not np.isfinite(found[0]) or not len(drawn):
        return Interval(np.nan, np.nan, np.nan, level, replicates, seed)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.clip(found[0], -1, 1)), float(low), float(high), level, replicates, seed)
