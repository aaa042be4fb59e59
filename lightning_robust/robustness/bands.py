"""A baseline as curves and points: what a figure of it draws."""

from collections.abc import Sequence
from math import nan
from typing import Literal

import numpy as np
from jaxtyping import Float

from lightning_robust.results.baseline_record import ModelAccuracies
from lightning_robust.robustness.accuracy_table import REFERENCE
from lightning_robust.robustness.baseline import MEAN, Baseline
from lightning_robust.robustness.links import clip_accuracy, link_named

__all__ = ["band", "points"]


def band(
    baseline: Baseline,
    reference: Float[np.ndarray, "n"],
    shift: str = MEAN,
    kind: Literal["line", "prediction"] = "prediction",
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Between which accuracies the line lies, or a standard model does.

    Args:
        baseline: whose line.
        reference: accuracies as fractions, as for `Baseline.expected`.
        shift: a shift, or ``"mean"``.
        kind: ``"line"`` for the line itself, ``"prediction"`` for one standard model about it.
        replicates: bootstrap replicates.
        seed: of the replicates.
        level: nominal coverage at each point, in (0, 1).

    Returns:
        Lower and upper ends, as fractions.

    Raises:
        ValueError: no line for that shift, or an option out of range.

    Example:
        >>> from lightning_robust.robustness import load_baseline
        >>> low, high = band(load_baseline("imagenet"), np.array([0.75]), "v2")
        >>> bool(0.60 < low[0] < high[0] < 0.66)
        True
    """
    if kind not in ("line", "prediction"):
        raise ValueError(f"a band is of the 'line' or a 'prediction', got {kind!r}")
    if not 0 < level < 1 or replicates < 1:
        raise ValueError(f"a band needs a level in (0, 1) and at least 1 replicate, got {level} and {replicates}")
    every = [*baseline.lines.values(), baseline.mean_line]
    chosen = [every.index(line) for line in baseline.lines_of(shift)]
    link, drawn = link_named(baseline.scale), baseline.drawn(replicates, seed)
    x = link.forward(clip_accuracy(reference, baseline.images[REFERENCE]))[:, None, None]
    value = drawn.intercepts[:, chosen] + drawn.slopes[:, chosen] * x
    accuracy = link.inverse(value + drawn.residuals[:, chosen] if kind == "prediction" else value).mean(axis=-1)
    low, high = np.quantile(accuracy, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return low, high


def points(
    baseline: Baseline, models: Sequence[ModelAccuracies], shift: str = MEAN
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Where models lie beside a line: the reference accuracy that it reads, and accuracy on the shift.

    Args:
        baseline: whose line.
        models: n models.
        shift: a shift, or ``"mean"`` for the means over all shifts of the baseline.

    Returns:
        Abscissae and ordinates as fractions, clipped by the baseline's numbers of images; NaN where a model lacks a
        figure.

    Raises:
        ValueError: no line for that shift.
    """
    baseline.lines_of(shift)
    wanted = baseline.shifts if shift == MEAN else (shift,)
    references = dict(zip(baseline.shifts, baseline.table.references, strict=True))
    x = [_column(baseline, models, references[name]) for name in wanted]
    y = [_column(baseline, models, name) for name in wanted]
    return np.asarray(np.mean(x, axis=0)), np.asarray(np.mean(y, axis=0))


def _column(baseline: Baseline, models: Sequence[ModelAccuracies], column: str) -> Float[np.ndarray, "n"]:
    if column == REFERENCE:
        values = [model.reference for model in models]
    elif column in baseline.lines:
        values = [model.shifts.get(column, nan) for model in models]
    else:
        values = [model.matched.get(column.removeprefix("matched/"), nan) for model in models]
    return clip_accuracy(np.array(values, dtype=np.float64), baseline.images[column])
