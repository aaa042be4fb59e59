"""How well a regression predicts families that it has not seen: correlations, R², coverage."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from lightning_robust.results import Interval
from lightning_robust.results.diagnosis_record import Coverage, PredictorSkill
from lightning_robust.robustness.diagnosis_correlation import spearman, spearman_between, spearman_within
from lightning_robust.robustness.diagnosis_left_out import LeftOut
from lightning_robust.robustness.wilson import wilson_interval

__all__ = ["counted_coverage", "judged", "r_squared"]


def judged(
    left_out: LeftOut,
    name: str,
    role: str,
    figures: tuple[str, ...],
    heads: Bool[np.ndarray, "n"],
    pretrained: Bool[np.ndarray, "n"],
    level: float,
    seed: int,
) -> PredictorSkill:
    """The skill of one regression on its own table.

    Args:
        left_out: the regression without each family.
        name: of what is judged.
        role: ``"diagnosis"``, ``"rival"`` or ``"single figure"``.
        figures: tags that it is computed from.
        heads: which rows stand for their families where one row of each is counted.
        pretrained: which of those are zero-shot.
        level: of the prediction intervals.
        seed: of the bootstraps.
    """
    rows, predicted = left_out.rows, left_out.predictions
    low, high = left_out.intervals(level)
    held = (low <= rows.y) & (rows.y <= high)
    return PredictorSkill(
        name=name,
        role=role,
        figures=figures,
        correlation=spearman(predicted, rows.y, rows.family, seed),
        r_squared=r_squared(left_out),
        between_families=spearman_between(predicted, rows.y, rows.family, seed),
        within_families=spearman_within(predicted, rows.y, rows.family, seed),
        coverage=counted_coverage(held.tolist(), level),
        rows=len(rows.y),
        families=rows.families,
        coverage_by_family=counted_coverage(held[heads].tolist(), level),
        pretrained=_among(predicted[pretrained], rows.y[pretrained], seed),
    )


def _among(predicted: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], seed: int) -> Interval | None:
    return spearman(predicted, y, np.arange(len(y)), seed) if len(y) else None


def r_squared(left_out: LeftOut) -> float:
    """Share of squared error that predictions without the own family save over the mean of the other families.

    Every family weighs the same. At most 1; negative where the mean of the others is nearer; NaN where the target does
    not vary.

    Args:
        left_out: the regression without each family.
    """
    rows = left_out.rows
    missed, spread = (float(rows.weights @ np.square(rows.y - p)) for p in (left_out.predictions, left_out.means))
    return 1 - missed / spread if spread > 0 else float("nan")


def counted_coverage(held: Sequence[bool], nominal: float) -> Coverage:
    """How many intervals held what was measured, with Wilson's 95 % interval of the share.

    Args:
        held: whether each did.
        nominal: the share that was aimed at.

    Raises:
        ValueError: no intervals.

    Example:
        >>> coverage = counted_coverage([True] * 9 + [False], 0.9)
        >>> coverage.held, coverage.total, round(coverage.low, 3), round(coverage.high, 3)
        (9, 10, 0.596, 0.982)
    """
    low, high = wilson_interval(sum(held), len(held))
    return Coverage(held=sum(held), total=len(held), low=low, high=high, nominal=nominal)
