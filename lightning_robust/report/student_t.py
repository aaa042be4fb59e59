"""Student's t: the interval of a mean over a few seeds."""

import math
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["mean_interval", "t_quantile"]


@lru_cache(maxsize=64)
def t_quantile(degrees: int, level: float = 0.95) -> float:
    """The t that a Student variable exceeds in size with probability 1 − level.

    Args:
        degrees: degrees of freedom, at least 1.
        level: coverage, in (0, 1).

    Returns:
        The two-sided quantile, > 0, by bisection on the finite series of the distribution for whole degrees of
        freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).

    Raises:
        ValueError: degrees below 1, or a level outside (0, 1).

    Example:
        >>> round(t_quantile(2), 3), round(t_quantile(9), 3)
        (4.303, 2.262)
    """
    if degrees < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"degrees is at least 1 and level in (0, 1), got {degrees} and {level}")
    low, high = 0.0, 0.5 * math.pi  # of the angle atan(t / √degrees)
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _coverage(middle, degrees) < level else (low, middle)
    return math.sqrt(degrees) * math.tan(0.5 * (low + high))


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean and half of its t-interval, for independent values.

    Args:
        values: one for each seed.
        level: coverage, in (0, 1).

    Returns:
        Mean and half-width, in the unit of the values; a half-width of NaN for one value, both NaN for none or where
        one is NaN.

    Example:
        >>> mean, half = mean_interval([1.0, 2.0, 3.0])
        >>> mean, round(half, 3)
        (2.0, 2.484)
    """
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    mean = math.fsum(values) / n
    if n == 1:
        return mean, math.nan
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, t_quantile(n - 1, level) * deviation / math.sqrt(n)


def _coverage(angle: float, degrees: int) -> float:
    """P(|T| ≤ t) for t = √degrees · tan(angle)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = degrees % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0 if degrees == 1 else term
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    return 2.0 / math.pi * (angle + sine * total) if odd else sine * total
