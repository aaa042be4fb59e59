"""Lines by ordinary least squares, with what they say of points that they have not seen."""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float

from lightning_robust.robustness.accuracy_table import AccuracyTable
from lightning_robust.robustness.links import Link

__all__ = ["Line", "fit_line", "fit_lines", "least_squares"]


@dataclass(frozen=True)
class Line:
    """The line of standard models on one shift: ``link(acc_shift) = intercept + slope · link(acc_ref)``.

    Attributes:
        slope, intercept: on the baseline's scale.
        r_squared: share of the variance that the line explains, on that scale; NaN where there is none to explain.
        low, high: range of the models' reference accuracy, as fractions; outside it lies extrapolation.
        left_out: per model, ``link(acc_shift)`` minus what the line fitted without that model says.
        left_out_accuracy: the same in accuracy, as fractions: each model's effective robustness among the others.
    """

    slope: float
    intercept: float
    r_squared: float
    low: float
    high: float
    left_out: tuple[float, ...]
    left_out_accuracy: tuple[float, ...]

    @property
    def left_out_sd(self) -> float:
        """Standard deviation of the leave-one-out residuals in accuracy, a fraction."""
        return float(np.std(self.left_out_accuracy))


def least_squares(
    x: Float[np.ndarray, "*R M"], y: Float[np.ndarray, "*R M"]
) -> tuple[Float[np.ndarray, "*R"], Float[np.ndarray, "*R"]]:
    """Slopes and intercepts of many lines at once.

    Args:
        x: abscissae of M points, for each of R lines.
        y: ordinates.

    Returns:
        Slopes and intercepts; NaN where all x of a line are equal.

    Example:
        >>> slope, intercept = least_squares(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
        >>> float(slope), float(intercept)
        (2.0, 1.0)
    """
    mean_x, mean_y = np.asarray(x.mean(axis=-1)), np.asarray(y.mean(axis=-1))
    centred = x - mean_x[..., None]
    spread = np.einsum("...m,...m->...", centred, centred)
    shared = np.asarray(np.einsum("...m,...m->...", centred, y))
    determined = spread > 1e-20 * (1 + np.square(mean_x))  # equal values leave rounding in place of zero
    slope = np.divide(shared, spread, out=np.full(np.shape(shared), np.nan), where=determined)
    return np.asarray(slope), np.asarray(mean_y - slope * mean_x)


def fit_line(
    x: Float[np.ndarray, "M"], y: Float[np.ndarray, "M"]
) -> tuple[float, float, float, Float[np.ndarray, "M"]]:
    """One line, and how far each point lies from the line without it.

    Args:
        x: abscissae.
        y: ordinates.

    Returns:
        Slope, intercept, R² (NaN where all y are equal: there is nothing to explain), and the M leave-one-out
        residuals ``e/(1 − leverage)``, with e the residuals.

    Raises:
        ValueError: fewer than three points, or the line without one of them is not determined.

    Example:
        >>> fit_line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))[:3]
        (2.0, 1.0, 1.0)
    """
    if len(x) < 3:
        raise ValueError(f"a baseline needs at least 3 models, got {len(x)}")
    spread = np.square(x - x.mean())
    leverage = 1 / len(x) + spread / spread.sum() if spread.sum() > 1e-20 else np.ones(len(x))
    if (1 - leverage < 1e-9).any():
        raise ValueError("a baseline needs models of at least 2 different reference accuracies, whichever is left out")
    slope, intercept = (float(value) for value in least_squares(x, y))
    residual = y - intercept - slope * x
    total = np.square(y - y.mean()).sum()
    varies = total > 1e-20 * len(y) * (1 + np.square(y.mean()))  # equal values leave rounding in place of zero
    r_squared = float(1 - np.square(residual).sum() / total) if varies else nan
    return slope, intercept, r_squared, residual / (1 - leverage)


def fit_lines(table: AccuracyTable, link: Link) -> list[Line]:
    """A line for each shift, and for the mean accuracy over the shifts in the last place.

    Args:
        table: the models.
        link: the scale.

    Raises:
        ValueError: too few models, or too alike.
    """
    x, accuracy = table.abscissae(table.values), table.accuracies(table.values)
    u, v = link.forward(x), table.ordinates(table.values, link)
    found = []
    for k in range(x.shape[1]):
        slope, intercept, r_squared, left_out = fit_line(u[:, k], v[:, k])
        missed = accuracy[:, k] - link.inverse(v[:, k] - left_out)
        low, high = float(x[:, k].min()), float(x[:, k].max())
        found.append(Line(slope, intercept, r_squared, low, high, tuple(left_out.tolist()), tuple(missed.tolist())))
    return found
