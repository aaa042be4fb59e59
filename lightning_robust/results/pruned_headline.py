"""The headline of direction pruning: the largest fraction that can go; the ``robustness`` room computes it."""

from collections.abc import Mapping
from dataclasses import dataclass

from lightning_robust.results.choices import Interval

__all__ = ["PrunedHeadline"]


@dataclass(frozen=True, kw_only=True)
class PrunedHeadline:
    """The largest fraction pruned with at most so much accuracy lost (METHODS 4), on one set or in the mean of several.

    Fractions are of ``total``: of the r directions that the head reads, never of its d features, unless features were
    pruned. Pruning everything, ``kept = 0``, is never a candidate: what is left answers one class for every image.
    Where no candidate is good enough nothing is pruned: ``kept`` is ``total`` and the fraction 0.

    Attributes:
        fraction: the largest ``1 − kept / total`` whose accuracy is at least ``unpruned − points``, in [0, 1), with the
            percentile interval of a paired bootstrap in which every replicate finds its own. The best of many
            candidates gains by chance, so the bootstrap lies rather high.
        kept: how many are kept there.
        unbroken: likewise, where no smaller pruning that was tried may lose more than ``points`` either.
        unbroken_kept: how many are kept there, at least ``kept``.
        total: how many there are: r, or d where features are pruned.
        points: accuracy that may be lost, a fraction: 0.01 is one point.
        unpruned: accuracy without pruning, a fraction; the unweighted mean over the sets.
        accuracy: likewise at ``kept``; never below ``unpruned − points``.
        images: how many were judged, by set.

    Example:
        >>> fraction, unbroken = (Interval(x, 0.5, 0.8, level=0.95, replicates=2000, seed=0) for x in (0.75, 0.6))
        >>> headline = PrunedHeadline(
        ...     fraction=fraction, kept=5, unbroken=unbroken, unbroken_kept=8, total=20, points=0.01, unpruned=0.8125,
        ...     accuracy=0.8125, images={"photo": 400},
        ... )
        >>> headline.loss
        0.0
    """

    fraction: Interval
    kept: int
    unbroken: Interval
    unbroken_kept: int
    total: int
    points: float
    unpruned: float
    accuracy: float
    images: Mapping[str, int]

    @property
    def loss(self) -> float:
        """Accuracy lost at ``kept``, a fraction of at most ``points``; negative where pruning helped."""
        return self.unpruned - self.accuracy
