"""How far an effective robustness could move: lines, accuracies and standard models drawn again (METHODS 1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lightning_robust.results import Interval
from lightning_robust.results.effective_robustness import ShiftRobustness
from lightning_robust.robustness.accuracy_table import AccuracyTable
from lightning_robust.robustness.line import Line, least_squares
from lightning_robust.robustness.links import Link

__all__ = ["DrawnLines", "aggregated", "draw_lines", "judge"]


@dataclass(frozen=True)
class DrawnLines:
    """Lines of R bootstrap replicates, for S shifts and, in the last place, for their mean accuracy.

    Attributes:
        slopes, intercepts: on the baseline's scale, ``(R, S + 1)``.
        residuals: leave-one-out residuals of one standard model, the same on all shifts, ``(R, S + 1)``. They hold
            that model's own sampling error already.
        seed: that drew them.
    """

    slopes: Float[np.ndarray, "R S1"]
    intercepts: Float[np.ndarray, "R S1"]
    residuals: Float[np.ndarray, "R S1"]
    seed: int


def draw_lines(table: AccuracyTable, lines: Sequence[Line], link: Link, replicates: int, seed: int) -> DrawnLines:
    """Fit the lines again on resampled models whose every accuracy is drawn from its binomial.

    The draw is from the accuracy clipped to [1/(2n), 1 − 1/(2n)], so that 0 and 1 have an error too. With
    ``x="full"`` a model's reference accuracy is drawn once for all shifts, as it was measured once; the matched ones
    are drawn each for itself, although the images of their classes overlap. Nothing here depends on the
    model that is judged, so one set of lines serves every epoch and every α.

    Args:
        table: the baseline models.
        lines: fitted on them, for the shifts and for the mean accuracy.
        link: the scale of the lines.
        replicates: R.
        seed: of everything random.

    Raises:
        ValueError: models so few and so alike that resampling them gives no line.
    """
    rng = np.random.default_rng([seed, 0])
    slopes = np.full((replicates, len(lines)), np.nan)
    intercepts = slopes.copy()
    count = len(table.values)
    for _ in range(100):  # a replicate that drew a single model has no line and is drawn again
        todo = np.isnan(slopes).any(axis=1)
        if not todo.any():
            break
        chosen = table.values[rng.integers(count, size=(int(todo.sum()), count))]
        drawn = _counted_again(table, chosen, rng)
        x = np.moveaxis(link.forward(table.abscissae(drawn)), -1, 1)
        y = np.moveaxis(table.ordinates(drawn, link), -1, 1)
        slopes[todo], intercepts[todo] = least_squares(x, y)
    else:
        raise ValueError(f"resampling these {count} models gives no line: their reference accuracies are too alike")
    left_out = np.array([line.left_out for line in lines]).T
    return DrawnLines(slopes, intercepts, left_out[rng.integers(count, size=replicates)], seed)


def judge(
    table: AccuracyTable,
    row: Float[np.ndarray, "C"],
    lines: Sequence[Line],
    link: Link,
    aggregate: str,
    drawn: DrawnLines | None,
    level: float,
) -> list[ShiftRobustness]:
    """Effective robustness of one model on each shift, and in the mean in the last place.

    Args:
        table: the columns of ``row``, with the numbers of images that the model was judged on.
        row: the model's accuracies.
        lines: for the shifts and for their mean accuracy.
        link: the scale of the lines.
        aggregate: ``"er"`` or ``"accuracy"``.
        drawn: replicates of the lines; None leaves the intervals out.
        level: nominal coverage of the intervals.
    """
    x, accuracy = table.abscissae(row), table.accuracies(row)
    intercepts, slopes = np.array([line.intercept for line in lines]), np.array([line.slope for line in lines])
    expected = aggregated(link.inverse(intercepts + slopes * link.forward(x)), aggregate)
    outside = [not line.low <= value <= line.high for line, value in zip(lines, x, strict=True)]
    outside[-1] = any(outside)
    draws = None if drawn is None else _draws(table, row, link, aggregate, drawn)
    found = []
    for k, estimate in enumerate((accuracy - expected).tolist()):
        interval = prediction = None
        if drawn is not None and draws is not None:
            interval, prediction = (_percentile(estimate, part[:, k], level, drawn.seed) for part in draws)
        found.append(
            ShiftRobustness(
                accuracy=float(accuracy[k]),
                expected=float(expected[k]),
                estimate=estimate,
                interval=interval,
                prediction=prediction,
                extrapolated=bool(outside[k]),
            )
        )
    return found


def aggregated(values: Float[np.ndarray, "*R S1"], aggregate: str) -> Float[np.ndarray, "*R S1"]:
    """Put into the last place what ``aggregate`` says: the mean of the others, or what stands there.

    Args:
        values: per shift, and from the line on the mean accuracy in the last place.
        aggregate: ``"er"`` or ``"accuracy"``.

    Example:
        >>> aggregated(np.array([0.2, 0.4, 0.9]), "er").round(3).tolist()
        [0.2, 0.4, 0.3]
    """
    if aggregate == "accuracy":
        return values
    shifts = values[..., :-1]
    return np.concatenate([shifts, shifts.mean(axis=-1, keepdims=True)], axis=-1)


def _draws(
    table: AccuracyTable, row: Float[np.ndarray, "C"], link: Link, aggregate: str, lines: DrawnLines
) -> tuple[Float[np.ndarray, "R S1"], Float[np.ndarray, "R S1"]]:
    """By replicate: accuracy above the line, and accuracy above a standard model drawn at random.

    The second counts sampling error twice, in the residual and in the accuracies drawn (METHODS 1): it is
    conservative where test sets are small beside the scatter (97 to 99 % for 14 models at 300 to 2,000 images).

    The scatter of standard models is drawn on the scale of the line, where it is more even than in accuracy, and no
    expected accuracy leaves [0, 1].
    """
    rng = np.random.default_rng([lines.seed, 1])
    drawn = _counted_again(table, np.broadcast_to(row, (len(lines.slopes), len(row))), rng)
    accuracy = table.accuracies(drawn)
    on_line = lines.intercepts + lines.slopes * link.forward(table.abscissae(drawn))
    sampled, standard = (accuracy - link.inverse(value) for value in (on_line, on_line + lines.residuals))
    return aggregated(sampled, aggregate), aggregated(standard, aggregate)


def _counted_again(
    table: AccuracyTable, accuracies: Float[np.ndarray, "*R C"], rng: np.random.Generator
) -> Float[np.ndarray, "*R C"]:
    """Accuracies drawn from their binomials; none or all of n right is drawn as half an image from there.

    At 0 and 1 themselves every draw would be the same, as if the accuracy were known without error.
    """
    edge = 0.5 / table.images
    return np.asarray(rng.binomial(table.images, np.clip(accuracies, edge, 1 - edge)) / table.images)


def _percentile(estimate: float, draws: Float[np.ndarray, "R"], level: float, seed: int) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, len(draws), seed)
