"""Rank correlations over rows that belong to families, with intervals by drawing families again."""

import numpy as np
from jaxtyping import Float, Int

from lightning_robust.results import Interval
from lightning_robust.robustness.rank_correlation import centred_ranks

__all__ = ["FEWEST_ROWS", "LEVEL", "REPLICATES", "drawn_families", "spearman", "spearman_between", "spearman_within"]

FEWEST_ROWS = 3
"""Rows that a rank correlation needs, of a family that has one inside."""
LEVEL = 0.95
REPLICATES = 2000


def drawn_families(families: int, seed: int) -> Float[np.ndarray, "R F"]:
    """How often each family is drawn in each bootstrap replicate.

    Args:
        families: how many there are.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(families, np.full(families, 1 / families), size=REPLICATES).astype(np.float64)


def spearman(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], family: Int[np.ndarray, "n"], seed: int) -> Interval:
    """Spearman's correlation over all rows; a bootstrap replicate has every row of a family as often as it was drawn.

    Args:
        x: one value per row.
        y: the other.
        family: number of the family of each row, from 0 without gaps.
        seed: of the bootstrap.

    Returns:
        Estimate and 95 % percentile interval; NaN for fewer than three rows, or where one side does not vary.

    Example:
        >>> x = np.arange(8.0)
        >>> found = spearman(x, x**3, np.arange(8) // 2, seed=0)
        >>> found.estimate, found.low, found.high
        (1.0, 1.0, 1.0)
    """
    draws = drawn_families(int(family.max()) + 1, seed)
    return _interval(_estimate(x, y), _weighted(x, y, draws[:, family]), seed)


def spearman_between(
    x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], family: Int[np.ndarray, "n"], seed: int
) -> Interval:
    """Spearman's correlation of the families' means.

    Args:
        x: one value per row.
        y: the other.
        family: number of the family of each row, from 0 without gaps.
        seed: of the bootstrap.

    Example:
        >>> means = spearman_between(np.arange(8.0), -np.arange(8.0), np.arange(8) // 2, seed=0)
        >>> means.estimate
        -1.0
    """
    counts = np.bincount(family)
    mean_x, mean_y = (np.bincount(family, weights=values) / counts for values in (x, y))
    return spearman(mean_x, mean_y, np.arange(len(counts)), seed)


def spearman_within(
    x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], family: Int[np.ndarray, "n"], seed: int
) -> Interval:
    """The mean over families of Spearman's correlation inside each.

    Families with fewer than three rows, and those in which one side does not vary, have none and are left out.

    Args:
        x: one value per row.
        y: the other.
        family: number of the family of each row, from 0 without gaps.
        seed: of the bootstrap.

    Returns:
        Estimate and interval; NaN where no family has a correlation.

    Example:
        >>> inside = spearman_within(np.arange(8.0), np.tile([3.0, 2.0, 1.0, 0.0], 2), np.arange(8) // 4, seed=0)
        >>> inside.estimate
        -1.0
    """
    found = np.array([_estimate(x[family == f], y[family == f]) for f in range(int(family.max()) + 1)])
    has = np.isfinite(found)
    if not has.any():
        return Interval(np.nan, np.nan, np.nan, LEVEL, REPLICATES, seed)
    draws = drawn_families(int(has.sum()), seed)
    return _interval(float(found[has].mean()), draws @ found[has] / draws.sum(axis=1), seed)


def _estimate(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> float:
    return float(_weighted(x, y, np.ones((1, len(x))))[0]) if len(x) >= FEWEST_ROWS else np.nan


def _weighted(
    x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], counts: Float[np.ndarray, "R n"]
) -> Float[np.ndarray, "R"]:
    """Spearman's correlation of samples that hold row i ``counts[r, i]`` times, ties sharing their mean rank."""
    a, b = centred_ranks(x, counts), centred_ranks(y, counts)
    shared, own, other = (np.sum(counts * u * v, axis=1) for u, v in ((a, b), (a, a), (b, b)))
    scale = np.sqrt(own * other)
    return np.asarray(np.divide(shared, scale, out=np.full(len(counts), np.nan), where=scale > 0))


def _interval(estimate: float, replicates: Float[np.ndarray, "R"], seed: int) -> Interval:
    drawn = replicates[np.isfinite(replicates)]  # a replicate of one family has no order between families
    if not np.isfinite(estimate) or not len(drawn):
        return Interval(np.nan, np.nan, np.nan, LEVEL, REPLICATES, seed)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(estimate), float(low), float(high), LEVEL, REPLICATES, seed)
