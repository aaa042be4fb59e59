"""Which training images are held out for choices, and which few are shown: functions of (seed, labels) alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["few_of_each", "held_out"]


def held_out(total: int, n: int, seed: int) -> NDArray[np.bool_]:
    """Which of the images are held out, drawn without regard to classes.

    Args:
        total: Number of images.
        n: How many are held out.
        seed: Seed of the draw.

    Returns:
        True where an image is held out, `(total,)`.

    Raises:
        ValueError: If `n` is below 0 or leaves no image.

    Example:
        >>> held_out(6, 2, seed=0).sum()
        np.int64(2)
    """
    if not 0 <= n < total:
        raise ValueError(f"n_val={n} of {total} training images cannot be held out; take a smaller n_val")
    chosen = np.zeros(total, dtype=bool)
    chosen[np.random.default_rng([seed, 0]).permutation(total)[:n]] = True
    return chosen


def few_of_each(
    labels: NDArray[np.int64], candidates: NDArray[np.int64], k: int, seed: int, names: Sequence[str]
) -> NDArray[np.int64]:
    """`k` images of each class that has any.

    Args:
        labels: Class of every image, `(n,)`.
        candidates: Which images may be taken.
        k: How many of each class.
        seed: Seed of the draw; a smaller k takes some of the same images.
        names: What the classes are called, for a complaint.

    Returns:
        The images chosen, ascending.

    Raises:
        ValueError: If a class has fewer than k.

    Example:
        >>> few_of_each(np.array([0, 1, 0, 1]), np.array([0, 1, 3]), 1, seed=0, names="ab").tolist()
        [0, 1]
    """
    order = np.random.default_rng([seed, 1]).permutation(candidates)
    chosen: list[int] = []
    for label in np.unique(labels[candidates]):
        found = order[labels[order] == label]
        if len(found) < k:
            raise ValueError(f"shots={k}: the class {names[label]!r} has only {len(found)} training images")
        chosen += found[:k].tolist()
    return np.array(sorted(chosen), dtype=np.int64)
