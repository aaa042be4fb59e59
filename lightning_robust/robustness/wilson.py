"""Wilson's interval: how far an accuracy is known from so many images."""

import math
from statistics import NormalDist

__all__ = ["wilson_interval"]


def wilson_interval(correct: int, images: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for the accuracy behind `correct` of `images` (Wilson 1927, JASA 22:209).

    The accuracies p at which a score test does not reject what was seen: with z the normal quantile,
    `(p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n)`. It lies in [0, 1] and has a width at p̂ = 0 and 1 too.

    Args:
        correct: right answers.
        images: answers, at least 1.
        level: nominal coverage, in (0, 1).

    Returns:
        Both ends, as fractions.

    Raises:
        ValueError: no images, more right answers than images, or a level outside (0, 1).

    Example:
        >>> [round(end, 4) for end in wilson_interval(8, 10)]
        [0.4902, 0.9433]
    """
    if images < 1 or not 0 <= correct <= images:
        raise ValueError(f"an accuracy is right answers of at least one image, got {correct} of {images}")
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, extra = correct / images, z * z / images
    middle = share + extra / 2
    half = z * math.sqrt(share * (1 - share) / images + extra / (4 * images))
    low, high = ((middle + sign * half) / (1 + extra) for sign in (-1, 1))
    # exact ends, which rounding would miss
    return (0.0 if correct == 0 else low), (1.0 if correct == images else high)
