"""Chance of a rank correlation where there is none: by permuting families, or flipping their signs."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lightning_robust.robustness.rank_correlation import centred_ranks

__all__ = ["holm", "permutation_p", "sign_flip_p"]

_EXACT = 5040
"""Up to so many arrangements all are gone through."""


def permutation_p(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], *, draws: int = 9999, seed: int = 0) -> float:
    """Share of arrangements of y whose rank correlation with x is at least as far from zero as the one found.

    For rows of different families: under the hypothesis that x and y have nothing to do with each other any family
    could have had any y. All arrangements up to seven rows; else random ones, the one found counted among them
    (Phipson & Smyth 2010).

    Args:
        x: one value for each family.
        y: the other.
        draws: random arrangements.
        seed: of the draws.

    Returns:
        Two-sided, in (0, 1]; NaN for fewer than three rows, or where one side never changes.

    Example:
        >>> permutation_p(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))
        0.3333333333333333
    """
    n = len(x)
    if n < 3 or len(set(x.tolist())) == 1 or len(set(y.tolist())) == 1:
        return math.nan
    a, b = (centred_ranks(values, np.ones((1, n)))[0] for values in (x, y))
    if math.factorial(n) <= _EXACT:
        orders = np.array(list(itertools.permutations(range(n))))
        return _share(b[orders] @ a, float(b @ a), counted=True)
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (draws, 1)), axis=1)
    return _share(b[orders] @ a, float(b @ a), counted=False)


def sign_flip_p(values: Sequence[float], *, draws: int = 9999, seed: int = 0) -> float:
    """Share of flips of signs whose mean is at least as far from zero as the one found.

    For one correlation inside each family: where there is none, each is as likely to be negative as positive. That
    asks whether the families agree, not why: what finetuning always changes agrees with what it always lowers.

    Args:
        values: one for each family; NaN are left out.
        draws: random flips, where there are more than 5,040 in all.
        seed: of the draws.

    Returns:
        Two-sided, in (0, 1]; NaN for no values, or where all are 0.

    Example:
        >>> sign_flip_p([0.9, 1.0, 0.8])
        0.25
    """
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known) or not known.any():
        return math.nan
    if 2 ** len(known) <= _EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(known))))
        return _share(signs @ known, float(known.sum()), counted=True)
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, len(known)))
    return _share(signs @ known, float(known.sum()), counted=False)


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of one false finding among all of them stays below the level (Holm 1979).

    Args:
        values: p-values; NaN stay NaN and count for nothing.

    Returns:
        As many, in order, each at most 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted((k for k, p in enumerate(values) if not math.isnan(p)), key=lambda k: values[k])
    adjusted, largest = [math.nan] * len(values), 0.0
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * values[k]))
        adjusted[k] = largest
    return adjusted


def _share(found: np.ndarray, seen: float, *, counted: bool) -> float:
    """Of arrangements that are at least as far from zero, equal ones by rounding among them."""
    far = int((np.abs(found) >= abs(seen) - 1e-9).sum())
    return far / len(found) if counted else (far + 1) / (len(found) + 1)
