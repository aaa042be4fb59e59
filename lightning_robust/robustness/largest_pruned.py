"""The headline of pruning: how much can go before more than a point of accuracy is lost (METHODS 4).

The bootstrap draws images one by one, as one would by hand, but looks only at what can matter: at the k whose loss is
so near to the bound that a replicate could find it on the other side (Bernstein's inequality, see ``_open_questions``),
and at the images that some of these k lose or win.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lightning_robust.results import Interval, PrunedHeadline

__all__ = ["largest_pruned"]

_DRAWS = 2**17  # images drawn at once: 1 MiB of indices, which stays in the cache
_TIE = 1e-9  # 0.96 − 0.95 ≤ 0.01 is false in floating point
_CHANCE = 1e-12  # that any replicate answers a question differently that is held to be closed

Answers = np.ndarray | torch.Tensor


@dataclass(frozen=True, eq=False)
class _Lost:
    """What each k loses on one set: 1 where only the unpruned model is right, −1 where only the pruned one is."""

    images: Int[np.ndarray, "K n"]
    unpruned: float

    @property
    def mean(self) -> Float[np.ndarray, "K"]:
        means: np.ndarray = self.images.mean(axis=1, dtype=np.float64)
        return means

    @property
    def variance(self) -> Float[np.ndarray, "K"]:
        squares: np.ndarray = np.count_nonzero(self.images, axis=1) / self.images.shape[1] - self.mean**2
        return squares


def largest_pruned(
    correct: Answers | Mapping[str, Answers],
    kept: Sequence[int],
    total: int,
    unpruned: Answers | Mapping[str, Answers],
    *,
    points: float = 0.01,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> PrunedHeadline:
    """Find the largest fraction pruned with at most so much accuracy lost, on one set or in the mean of several.

    All k that were tried count, but for k = 0; an accuracy that recovers counts too (``unbroken`` says how far it goes
    without a gap). The interval is that of a paired bootstrap over images: every replicate draws the images of each set
    with replacement, the same for all k and for the unpruned model, and finds its own fraction. Every set weighs the
    same. The fraction is found on the images that it is judged on, and it is the best of many: over replicates, which
    vary more than the k do, the best lies higher than it would for other images of the same kind. ``unbroken`` errs to
    the other side.

    Args:
        correct: whether the model that keeps k is right on each image, ``(K, n)`` of booleans; or that by set.
        kept: the K numbers kept, in the order of the rows.
        total: how many there are to keep, r (or d).
        unpruned: whether the model as it is is right on each image, ``(n,)``; or that by set.
        points: accuracy that may be lost, a fraction: 0.01 is one point. The bound itself is allowed.
        replicates: bootstrap samples.
        level: nominal coverage, in (0, 1).
        seed: of the resampling: the set at place i of their names draws with ``default_rng([seed, i])``.

    Returns:
        The record.

    Raises:
        ValueError: if shapes or sets do not fit, there is nothing to judge, answers are not booleans, or a number is
            out of range.

    Example:
        >>> unpruned = np.array([True, True, True, False])
        >>> correct = np.array([[True, True, True, False], [True, True, False, True], [True, False, False, False]])
        >>> headline = largest_pruned(correct, kept=[4, 2, 1], total=4, unpruned=unpruned)
        >>> headline.fraction.estimate, headline.kept, headline.accuracy
        (0.5, 2, 0.75)
    """
    _check_numbers(points, replicates, level)
    rows = _candidates(kept, total)
    lost = _lost_by_set(correct, unpruned, len(kept), rows)
    ascending = np.array([kept[row] for row in rows], dtype=np.int64)
    losses = np.mean([each.mean for each in lost.values()], axis=0)
    whole = float(np.mean([each.unpruned for each in lost.values()]))
    best, unbroken = (int(found[0]) for found in _headlines(losses[None] <= points + _TIE, ascending, total))
    good = _good_in_replicates(list(lost.values()), losses, points, replicates, seed)
    spread = [_fraction(found, total) for found in _headlines(good, ascending, total)]
    ends = [np.quantile(fractions, [(1 - level) / 2, (1 + level) / 2]).tolist() for fractions in spread]

    def interval(number: int, low: float, high: float) -> Interval:
        return Interval((total - number) / total, low, high, level, replicates, seed)

    at_best = losses[ascending == best]
    nothing_good = not bool((at_best <= points + _TIE).any())
    return PrunedHeadline(
        fraction=interval(best, *ends[0]),
        kept=best,
        unbroken=interval(unbroken, *ends[1]),
        unbroken_kept=unbroken,
        total=total,
        points=points,
        unpruned=whole,
        accuracy=whole if nothing_good else whole - float(at_best[0]),
        images={name: each.images.shape[1] for name, each in lost.items()},
    )


def _headlines(
    good: Bool[np.ndarray, "R K"], ascending: Int[np.ndarray, "K"], total: int
) -> tuple[Int[np.ndarray, "R"], Int[np.ndarray, "R"]]:
    """The smallest k that is good, and the smallest down to which all are; ``total`` where there is none."""
    if len(ascending) == 0:
        return np.full(len(good), total), np.full(len(good), total)
    best = np.where(good.any(axis=1), ascending[good.argmax(axis=1)], total)
    reached = np.where(good.all(axis=1), len(ascending), (~good[:, ::-1]).argmax(axis=1))
    unbroken = np.where(reached > 0, ascending[len(ascending) - np.maximum(reached, 1)], total)
    return best, unbroken


def _fraction(kept: Int[np.ndarray, "R"], total: int) -> Float[np.ndarray, "R"]:
    fractions: np.ndarray = (total - kept) / total
    return fractions


def _good_in_replicates(
    lost: Sequence[_Lost], losses: Float[np.ndarray, "K"], points: float, replicates: int, seed: int
) -> Bool[np.ndarray, "R K"]:
    """For each replicate and k whether at most ``points`` are lost."""
    good = np.broadcast_to(losses <= points + _TIE, (replicates, len(losses))).copy()
    asked = np.flatnonzero(_open_questions(lost, losses, points, replicates))
    if len(asked):
        drawn = [
            _resampled(each.images[asked], replicates, np.random.default_rng([seed, place]))
            for place, each in enumerate(lost)
        ]
        good[:, asked] = np.mean(drawn, axis=0) <= points + _TIE
    return good


def _open_questions(
    lost: Sequence[_Lost], losses: Float[np.ndarray, "K"], points: float, replicates: int
) -> Bool[np.ndarray, "K"]:
    """Which k a replicate could find on the other side of the bound; by Bernstein's inequality the others are closed.

    A replicate's loss is a mean of S means of independent draws, of variance ``v = Σ σ_s² / (n_s S²)``, each at most
    ``b = max 2 / (n_s S)`` from its expectation: it strays by t with a chance of at most ``2 exp(−t²/(2v + 2bt/3))``.
    """
    sets = len(lost)
    variance = sum(each.variance / each.images.shape[1] for each in lost) / sets**2
    largest = max(2 / (each.images.shape[1] * sets) for each in lost)
    away = np.abs(losses - points - _TIE)
    certain = math.log(2 * max(1, len(losses)) * replicates / _CHANCE)
    open_: np.ndarray = (variance > 0) & (away**2 <= certain * (2 * variance + 2 * largest * away / 3))
    return open_


def _resampled(lost: Int[np.ndarray, "K n"], replicates: int, rng: np.random.Generator) -> Float[np.ndarray, "R K"]:
    """Mean loss of each k in each replicate, every image drawn by itself."""
    n = lost.shape[1]
    matter = np.flatnonzero(lost.any(axis=0))
    # sums of whole numbers below 2^24 are exact in float32
    kind: type[np.floating] = np.float32 if n < 2**24 else np.float64
    columns = lost[:, matter].T.astype(kind)
    sums = np.empty((replicates, len(lost)))
    step = max(1, _DRAWS // n)
    for start in range(0, replicates, step):
        drawn = rng.integers(0, n, size=(min(step, replicates - start), n))
        drawn += n * np.arange(len(drawn))[:, None]
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        sums[start : start + len(drawn)] = counts[:, matter].astype(kind) @ columns
    means: np.ndarray = sums / n
    return means


def _candidates(kept: Sequence[int], total: int) -> list[int]:
    """Rows of ``correct`` by ascending k, without k = 0."""
    if total < 1 or len(set(kept)) < len(kept) or not all(0 <= k <= total for k in kept):
        raise ValueError(f"kept must be different numbers from 0 to the total of {total}, not {list(kept)[:10]}")
    return sorted((row for row, k in enumerate(kept) if k > 0), key=lambda row: kept[row])


def _lost_by_set(
    correct: Answers | Mapping[str, Answers], unpruned: Answers | Mapping[str, Answers], K: int, rows: list[int]
) -> dict[str, _Lost]:
    """Losses of the rows by set, by name, so that the order of the caller does not matter."""
    pruned = correct if isinstance(correct, Mapping) else {"images": correct}
    whole = unpruned if isinstance(unpruned, Mapping) else {"images": unpruned}
    if not pruned or pruned.keys() != whole.keys():
        raise ValueError(f"pruned and unpruned need the same sets, got {sorted(pruned)} and {sorted(whole)}")
    lost = {}
    for name in sorted(pruned):
        right, before = np.asarray(pruned[name]), np.asarray(whole[name])
        if right.dtype != np.bool_ or before.dtype != np.bool_:
            raise ValueError(f"{name}: answers are booleans (right or wrong), got {right.dtype} and {before.dtype}")
        if before.ndim != 1 or before.size == 0 or right.shape != (K, len(before)):
            raise ValueError(
                f"{name}: the unpruned model has (n,) answers, n at least 1, and the pruned one ({K}, n); "
                f"got {before.shape} and {right.shape}"
            )
        lost[name] = _Lost(before.astype(np.int8) - right[rows].astype(np.int8), float(before.mean()))
    return lost


def _check_numbers(points: float, replicates: int, level: float) -> None:
    if not 0 <= points < 1:
        raise ValueError(f"points is an accuracy in [0, 1), such as 0.01 for one point; got {points}")
    if replicates < 1:
        raise ValueError(f"a bootstrap needs at least one replicate, got {replicates}")
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
