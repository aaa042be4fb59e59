"""A line by ordinary least squares, with what it says of points that it has not seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["Line", "fit_line", "least_squares"]


@dataclass(frozen=True)
class Line:
    """The line of standard models on one shift: ``link(acc_shift) = intercept + slope · link(acc_ref)``.

    Attributes:
        slope, intercept: on the baseline's scale.
        r_squared: share of the variance that the line explains, on that scale.
        low, high: range of the baseline models' reference accuracy, as fractions; outside it lies extrapolation.
        left_out: per model, its accuracy minus what the line fitted without it expects, as a fraction.
    """

    slope: float
    intercept: float
    r_squared: float
    low: float
    high: float
    left_out: tuple[float, ...]

    @property
    def left_out_sd(self) -> float:
        """Root mean square of the leave-one-out residuals, a fraction."""
        return float(np.sqrt(np.mean(np.square(self.left_out))))


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
    mean_x, mean_y = x.mean(axis=-1), y.mean(axis=-1)
    centred = x - mean_x[..., None]
    spread = np.einsum("...m,...m->...", centred, centred)
    shared = np.einsum("...m,...m->...", centred, y)
    slope = np.divide(shared, spread, out=np.full_like(shared, np.nan), where=spread > 0)
    return slope, mean_y - slope * mean_x


def fit_line(
    x: Float[np.ndarray, "M"], y: Float[np.ndarray, "M"]
) -> tuple[float, float, float, Float[np.ndarray, "M"]]:
    """One line, and what each point's line without that point leaves of it.

    Args:
        x: abscissae.
        y: ordinates.

    Returns:
        Slope, intercept, R², and the M leave-one-out predictions, ``y − e/(1 − leverage)`` with the residual e.

    Raises:
        ValueError: fewer than three points, or the line without one of them is not determined.

    Example:
        >>> fit_line(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))[:3]
        (2.0, 1.0, 1.0)
    """
    if len(x) < 3:
        raise ValueError(f"a baseline needs at least 3 models, got {len(x)}")
    spread = np.square(x - x.mean())
    leverage = 1 / len(x) + spread / spread.sum() if spread.sum() > 0 else np.ones(len(x))
    if (1 - leverage < 1e-9).any():
        raise ValueError("a baseline needs models of at least 2 different reference accuracies, whichever is left out")
    slope, intercept = (float(value) for value in least_squares(x, y))
    residual = y - intercept - slope * x
    total = np.square(y - y.mean()).sum()
    r_squared = float(1 - np.square(residual).sum() / total) if total > 0 else 1.0
    return slope, intercept, r_squared, y - residual / (1 - leverage)
