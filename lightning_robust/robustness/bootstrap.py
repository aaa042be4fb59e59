"""Bootstrap over test images: how far a difference in accuracy could move if other images had been drawn.

Two models judged on the same images are resampled together (paired), which removes the part of the noise that they
share. Images are grouped by their pattern of right and wrong answers over the models, and the number of times each
pattern is drawn is sampled from the multinomial distribution. That is exactly the distribution of drawing images one
by one with replacement, at a cost that does not grow with the number of images.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float

from lightning_robust.results import Interval

__all__ = ["mean_shift_difference", "paired_bootstrap", "resampled_accuracies"]

_CHUNK = 2**22  # drawn counts held at once, 32 MiB


def resampled_accuracies(
    correct: Bool[np.ndarray, "M n"] | Bool[torch.Tensor, "M n"], replicates: int, rng: np.random.Generator
) -> Float[np.ndarray, "R M"]:
    """Accuracies of M models on bootstrap samples of the n images, every model on the same sample.

    Args:
        correct: whether model m is right on image i, ``(M, n)``.
        replicates: number R of samples.
        rng: source of randomness.

    Returns:
        Accuracies as fractions, ``(R, M)``, float64.

    Raises:
        ValueError: no images, or no replicates.

    Example:
        >>> both_right = np.array([[True, True], [True, True]])
        >>> resampled_accuracies(both_right, 3, np.random.default_rng(0)).tolist()
        [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    answers = np.asarray(correct, dtype=bool)
    n = answers.shape[1]
    if n < 1 or replicates < 1:
        raise ValueError(f"a bootstrap needs at least one image and one replicate, got {n} and {replicates}")
    patterns, counts = np.unique(answers, axis=1, return_counts=True)
    weights = patterns.T.astype(np.float64)
    rows = max(1, _CHUNK // len(counts))
    pieces = [
        rng.multinomial(n, counts / n, size=min(rows, replicates - start)) @ weights / n
        for start in range(0, replicates, rows)
    ]
    return np.concatenate(pieces)


def paired_bootstrap(
    correct_a: Bool[np.ndarray, "n"] | Bool[torch.Tensor, "n"],
    correct_b: Bool[np.ndarray, "n"] | Bool[torch.Tensor, "n"],
    *,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Accuracy of model a minus that of model b on the same images, with a percentile interval.

    Where the two agree on every image the interval has no width: the bootstrap cannot know of images on which they
    would differ.

    Args:
        correct_a: whether a is right on each image, ``(n,)``.
        correct_b: the same for b, in the same order.
        replicates: bootstrap samples.
        level: nominal coverage, in (0, 1).
        seed: of the resampling.

    Returns:
        The difference as a fraction in [−1, 1], positive where a is better.

    Raises:
        ValueError: different numbers of images, none at all, or a level outside (0, 1).

    Example:
        >>> a, b = np.array([True, True, True, False]), np.array([True, False, True, False])
        >>> paired_bootstrap(a, b).estimate
        0.25
    """
    return mean_shift_difference(
        {"images": correct_a}, {"images": correct_b}, replicates=replicates, level=level, seed=seed
    )


def mean_shift_difference(
    correct_a: Mapping[str, np.ndarray | torch.Tensor],
    correct_b: Mapping[str, np.ndarray | torch.Tensor],
    *,
    replicates: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean over several shifts of the accuracy of model a minus that of model b, with a percentile interval.

    The images of each shift are resampled on their own, both models on the same sample; every shift weighs the same
    whatever its number of images. The shifts themselves are not resampled: the interval speaks of these shifts.

    Args:
        correct_a: by shift, whether a is right on each image, ``(n_shift,)`` of booleans.
        correct_b: the same for b: the same shifts, images in the same order.
        replicates: bootstrap samples.
        level: nominal coverage, in (0, 1).
        seed: of the resampling.

    Returns:
        The mean difference as a fraction in [−1, 1].

    Raises:
        ValueError: different shifts or numbers of images, nothing to compare, values other than booleans, or a level
            outside (0, 1).

    Example:
        >>> a = {"sketch": np.array([True, True]), "art": np.array([True, False])}
        >>> b = {"sketch": np.array([True, False]), "art": np.array([True, False])}
        >>> mean_shift_difference(a, b).estimate
        0.25
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
    if not correct_a or correct_a.keys() != correct_b.keys():
        raise ValueError(f"both models need the same shifts, got {sorted(correct_a)} and {sorted(correct_b)}")
    rng = np.random.default_rng(seed)
    estimates, samples = [], []
    for name in sorted(correct_a):  # an order that does not depend on the caller's
        pair = _pair(name, correct_a[name], correct_b[name])
        accuracies = resampled_accuracies(pair, replicates, rng)
        estimates.append(pair[0].mean() - pair[1].mean())
        samples.append(accuracies[:, 0] - accuracies[:, 1])
    low, high = np.quantile(np.mean(samples, axis=0), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean(estimates)), float(low), float(high), level, replicates, seed)


def _pair(name: str, a: np.ndarray | torch.Tensor, b: np.ndarray | torch.Tensor) -> Bool[np.ndarray, "2 n"]:
    first, second = np.asarray(a), np.asarray(b)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"{name}: both models need one answer per image, got shapes {first.shape} and {second.shape}")
    if first.dtype != np.bool_ or second.dtype != np.bool_:
        raise ValueError(f"{name}: answers are booleans (right or wrong), got {first.dtype} and {second.dtype}")
    return np.stack([first, second])
