"""From which figures effective robustness is predicted, what they are compared with, and on which scale they stand."""

import math
from typing import Final

__all__ = ["PREDICTORS", "RIVALS", "TARGET", "is_logged", "on_scale"]

TARGET: Final = "er/mean"
"""Tag of what is predicted: mean effective robustness over the shifts, a fraction."""

PREDICTORS: Final[tuple[str, ...]] = (
    "kurtosis/last/width_adjusted",
    "kurtosis/h/width_adjusted",
    "rankme/h",
    "importance/centred/max_over_median",
    "head/effective_rank",
    "confidence/mean",
    "confidence/accuracy",
)
"""Figures that a diagnosis reads unless told otherwise, chosen by meaning before any table was looked at: outlier
features of the last layer and of what the head reads, how many directions both use, how far one direction stands out,
and what a user knows anyway."""

RIVALS: Final[tuple[str, ...]] = (
    "confidence/accuracy",
    "confidence/mean",
    "rankme/h",
    "covariance_effective_rank/h",
    "weights/alpha",
)
"""Simple figures that a diagnosis has to beat: reference accuracy, mean confidence, effective rank, WeightWatcher's
alpha (METHODS 7)."""

_LOGGED_ROOTS: Final = frozenset(
    {
        "kurtosis",
        "neuron_norm_kurtosis",
        "massive",
        "rankme",
        "covariance_effective_rank",
        "participation_ratio",
        "head",
        "weights",
    }
)


def is_logged(tag: str) -> bool:
    """Whether a figure enters as its logarithm: positive ones, whose differences between models are ratios.

    Args:
        tag: canonical tag of the figure.

    Example:
        >>> is_logged("kurtosis/h"), is_logged("confidence/mean")
        (True, False)
    """
    return tag.split("/", 1)[0] in _LOGGED_ROOTS or tag.endswith("/max_over_median")


def on_scale(tag: str, value: float) -> float:
    """A figure on the scale on which it is regressed.

    Args:
        tag: canonical tag of the figure.
        value: as measured.

    Returns:
        The value or its natural logarithm; NaN where that is not finite.

    Example:
        >>> on_scale("rankme/h", 1.0), on_scale("confidence/mean", 0.5), on_scale("rankme/h", 0.0)
        (0.0, 0.5, nan)
    """
    if is_logged(tag):
        value = math.log(value) if value > 0 else math.nan
    return value if math.isfinite(value) else math.nan
