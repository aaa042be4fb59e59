"""How far an effective robustness could move: lines, accuracies and standard models drawn again (METHODS 1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lightning_robust.results import Interval
from lightning_robust.robustness.accuracy_table import AccuracyTable
from lightning_robust.robustness.line import least_squares
from lightning_robust.robustness.links import Link

__all__ = ["DrawnLines", "draw_lines", "drawn_robustness", "percentile_interval"]


@dataclass(frozen=True)
class DrawnLines:
    """Lines of R bootstrap replicates, S shifts and their mean accuracy in the last place.

    Attributes:
        slopes, intercepts: ``(R, S + 1)``.
    """

    slopes: Float[np.ndarray, "R S1"]
    intercepts: Float[np.ndarray, "R S1"]


def draw_lines(table: AccuracyTable, link: Link, replicates: int, seed: int) -> DrawnLines:
    """Fit the lines again on resampled models whose every accuracy is drawn from its binomial.

    A model's reference accuracy is drawn once for all shifts, as it was measured once. Nothing here depends on the
    model that is judged, so that one set of lines serves every epoch and every α.

    Args:
        table: the baseline models.
        link: the scale of the lines.
        replicates: R.
        seed: of everything random.

    Raises:
        ValueError: models so few and so alike that resampling them gives no line.
    """
    rng = np.random.default_rng([seed, 0])
    slopes = np.full((replicates, len(table.shifts) + 1), np.nan)
    intercepts = slopes.copy()
    count = len(table.values)
    for _ in range(100):  # a replicate that drew one model only has no line: it is drawn again
        todo = np.isnan(slopes).any(axis=1)
        if not todo.any():
            return DrawnLines(slopes, intercepts)
        chosen = table.values[rng.integers(count, size=(int(todo.sum()), count))]
        drawn = rng.binomial(table.images, chosen) / table.images
        x = np.moveaxis(link.forward(table.abscissae(drawn)), -1, 1)
        y = np.moveaxis(table.ordinates(drawn, link), -1, 1)
        slopes[todo], intercepts[todo] = least_squares(x, y)
    raise ValueError(f"resampling these {count} models gives no line: their reference accuracies are too alike")


def drawn_robustness(
    table: AccuracyTable, link: Link, lines: DrawnLines, row: Float[np.ndarray, "C"], aggregate: str, seed: int
) -> Float[np.ndarray, "R S1"]:
    """Effective robustness of one model in every replicate, its own accuracies drawn from their binomials.

    Args:
        table: columns of ``row``, with the numbers of images that the model was judged on.
        link: the scale of the lines.
        lines: of the replicates.
        row: the model's accuracies.
        aggregate: ``"er"`` or ``"accuracy"``.
        seed: of the draws.

    Returns:
        By replicate, for each shift and for their mean in the last place, ``(R, S + 1)``.
    """
    rng = np.random.default_rng([seed, 1])
    drawn = rng.binomial(table.images, row, size=(len(lines.slopes), len(row))) / table.images
    expected = link.inverse(lines.intercepts + lines.slopes * link.forward(table.abscissae(drawn)))
    return aggregated(table.accuracies(drawn) - expected, aggregate)


def aggregated(robustness: Float[np.ndarray, "*R S1"], aggregate: str) -> Float[np.ndarray, "*R S1"]:
    """Put into the last place what ``aggregate`` says: the mean of the others, or what stands there.

    Args:
        robustness: per shift, and from the line on the mean accuracy in the last place.
        aggregate: ``"er"`` or ``"accuracy"``.
    """
    if aggregate == "accuracy":
        return robustness
    shifts = robustness[..., :-1]
    return np.concatenate([shifts, shifts.mean(axis=-1, keepdims=True)], axis=-1)


def percentile_interval(estimate: float, draws: Float[np.ndarray, "R"], level: float, seed: int) -> Interval:
    """The percentile interval of draws.

    Args:
        estimate: the figure itself.
        draws: one per replicate.
        level: nominal coverage, in (0, 1).
        seed: that drew them, for the record.
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high), level, len(draws), seed)
