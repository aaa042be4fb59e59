"""Which Wise-FT coefficient to use, decided on reference validation images alone (METHODS 6; Wortsman et al. 2022)."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int

from lightning_robust.results import AlphaChoice
from lightning_robust.robustness.bootstrap import resampled_accuracies

__all__ = ["FIXED_ALPHA", "choose_alpha"]

FIXED_ALPHA = 0.5  # the default of the paper's authors, reported whatever the data say


def choose_alpha(
    validation_correct: Bool[np.ndarray, "A n"] | Bool[torch.Tensor, "A n"],
    alphas: Sequence[float],
    tolerance: float = 0.01,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> AlphaChoice:
    """Choose α*: the smallest α within ``tolerance`` of the best reference validation accuracy.

    Reference accuracy usually rises all the way to α = 1, so its maximum would win no robustness back. It never takes
    answers on a shift: a choice made there would not be one that a user without shifted data can make.

    Args:
        validation_correct: whether the model at each α is right on each reference validation image, ``(A, n)``.
        alphas: the A coefficients, increasing, in [0, 1].
        tolerance: accuracy that may be given up, a fraction (0.01 is one point); the bound itself is allowed.
        replicates: bootstrap samples of the images, for the share of them that choose each α.
        seed: of the resampling.

    Returns:
        The choice, with the share of bootstrap replicates that choose each α.

    Raises:
        ValueError: α's that do not increase, lie outside [0, 1] or differ in number from the rows; no images; a
            tolerance outside [0, 1).

    Example:
        >>> zero_shot, half, finetuned = [True, False, False, False], [True] * 4, [True] * 4
        >>> choice = choose_alpha(np.array([zero_shot, half, finetuned]), [0.0, 0.5, 1.0])
        >>> choice.alpha_star, choice.is_endpoint
        (0.5, False)
    """
    correct = np.asarray(validation_correct, dtype=bool)
    grid = tuple(float(alpha) for alpha in alphas)
    _check(correct, grid, tolerance)
    n = correct.shape[1]
    chosen = int(_smallest_within(correct.sum(axis=1)[None], n, tolerance)[0])
    samples = resampled_accuracies(correct, replicates, np.random.default_rng(seed))
    votes = _smallest_within(np.rint(samples * n).astype(np.int64), n, tolerance)
    shares = np.bincount(votes, minlength=len(grid)) / replicates
    return AlphaChoice(
        alpha_fixed=FIXED_ALPHA,
        alpha_star=grid[chosen],
        tolerance=tolerance,
        alphas=grid,
        validation_accuracies=tuple((correct.sum(axis=1) / n).tolist()),
        bootstrap_shares=tuple(shares.tolist()),
        images=n,
        replicates=replicates,
        seed=seed,
        rule=f"the smallest α whose accuracy on {n:,} reference validation images is within "
        f"{100 * tolerance:g} {'point' if tolerance == 0.01 else 'points'} of the best",
    )


def _smallest_within(hits: Int[np.ndarray, "R A"], n: int, tolerance: float) -> Int[np.ndarray, "R"]:
    """Index of the first column whose count of right answers is within the tolerance of the row's best.

    Counts, not fractions: 0.96 − 0.95 ≤ 0.01 is false in floating point.
    """
    missed = hits.max(axis=1, keepdims=True) - hits
    first: np.ndarray = np.argmax(missed <= tolerance * n + 1e-6, axis=1)
    return first


def _check(correct: Bool[np.ndarray, "..."], grid: tuple[float, ...], tolerance: float) -> None:
    if correct.ndim != 2 or correct.shape[0] != len(grid) or correct.size == 0:
        raise ValueError(f"answers of shape {correct.shape} do not fit {len(grid)} values of α: (A, n) is needed")
    if not all(0 <= alpha <= 1 for alpha in grid):
        raise ValueError(f"every α lies in [0, 1], got {list(grid)}")
    if any(a >= b for a, b in itertools.pairwise(grid)):
        raise ValueError(f"the α's have to increase, got {list(grid)}")
    if not 0 <= tolerance < 1:
        raise ValueError(f"the tolerance is an accuracy in [0, 1), such as 0.01 for one point; got {tolerance}")
