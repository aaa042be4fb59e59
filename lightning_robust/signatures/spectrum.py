"""Spectrum of a weight matrix: singular values, ranks and the power law of their tail (METHODS 3)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

MIN_TAIL = 10
"""Fewest eigenvalues to which a power law is fitted."""


@dataclass(frozen=True, eq=False)
class MatrixSpectrum:
    """Spectrum of one weight.

    Attributes:
        singular_values: descending, ``(min(out, in·kh·kw),)`` in float64.
        stable_rank: ``‖W‖_F² / σ₁²``, in [1, rank]; NaN for a zero matrix.
        effective_rank: ``exp(H(σ/Σσ))``, in [1, rank]; NaN for a zero matrix. (Roy & Vetterli 2007.)
        alpha: power-law exponent of the tail of the eigenvalues ``σ²``; see ``power_law_alpha``.
    """

    singular_values: Float64[Tensor, " k"]
    stable_rank: float
    effective_rank: float
    alpha: float


def matrix_spectrum(weight: Float[Tensor, "out *rest"]) -> MatrixSpectrum:
    """Compute the spectrum of a weight in float64.

    Args:
        weight: ``(out, in)``; convolutions ``(out, in, kh, kw)`` are flattened to ``(out, in·kh·kw)``.

    Returns:
        The frozen record.

    Raises:
        ValueError: if the weight is no matrix (a bias, a norm's scale), is empty or not finite.

    Example:
        >>> spectrum = matrix_spectrum(torch.diag(torch.tensor([2.0, 1.0, 1.0])))
        >>> spectrum.singular_values.tolist(), spectrum.stable_rank
        ([2.0, 1.0, 1.0], 1.5)
    """
    if weight.ndim < 2 or weight.numel() == 0:
        raise ValueError(
            f"a spectrum needs a weight of shape (out, in) or (out, in, kh, kw), not {tuple(weight.shape)}."
        )
    W = weight.detach().flatten(1).to(torch.float64)
    if not bool(W.isfinite().all()):
        raise ValueError("the weight holds values that are not finite, so it has no spectrum.")
    sigma = torch.linalg.svdvals(W)
    largest = float(sigma[0])
    # relative to the largest, so that tiny weights do not underflow when squared
    relative = sigma / largest if largest > 0 else sigma
    zero = relative <= max(W.shape) * torch.finfo(torch.float64).eps
    return MatrixSpectrum(
        singular_values=sigma,
        stable_rank=float(relative.square().sum()) if largest > 0 else math.nan,
        effective_rank=float(entropy_rank(sigma)),
        alpha=power_law_alpha(relative[~zero].square()),
    )


def entropy_rank(values: Float64[Tensor, " k"]) -> Float64[Tensor, ""]:
    """Exponential of the Shannon entropy of non-negative values divided by their sum, in [1, k]; NaN if all are zero.

    Example:
        >>> entropy_rank(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
        tensor(2., dtype=torch.float64)
    """
    p = values / values.sum()
    entropy: Tensor = torch.special.entr(p).sum()
    return entropy.exp()


def power_law_alpha(eigenvalues: Float64[Tensor, " k"], min_tail: int = MIN_TAIL) -> float:
    """Fit the exponent of a continuous power law, ``p(λ) ∝ λ^−α`` for ``λ ≥ λ_min``, to the tail of the eigenvalues.

    ``α = 1 + m / Σ ln(λ_i / λ_min)`` over the m eigenvalues at or above ``λ_min`` (maximum likelihood), and ``λ_min``
    the eigenvalue that makes the Kolmogorov-Smirnov distance between tail and fit smallest (Clauset, Shalizi & Newman
    2009; WeightWatcher reports the same, but also tries shorter tails). Scale-free. The smaller, the heavier the tail.

    Args:
        eigenvalues: positive, in any order, ``(k,)``.
        min_tail: fewest eigenvalues in the tail; shorter tails fit anything.

    Returns:
        The exponent, above 1; NaN with fewer than ``min_tail`` eigenvalues, or if they are all equal.

    Raises:
        ValueError: if an eigenvalue is not positive.
    """
    values = np.sort(eigenvalues.detach().cpu().numpy())
    if len(values) and not values[0] > 0:
        raise ValueError(f"eigenvalues must be positive, the smallest is {values[0]}.")
    logs = np.log(values)
    best, alpha = math.inf, math.nan
    for start in range(len(values) - min_tail + 1):
        if start and values[start] == values[start - 1]:
            continue  # the tail of a tied value begins at its first occurrence
        tail = logs[start:] - logs[start]
        total = float(tail.sum())
        if total <= 0:
            break
        m = len(tail)
        fit = -np.expm1(-(m / total) * tail)
        steps = np.arange(m + 1) / m
        # with ties the inner steps never show, but they lie between those that do, so the maximum needs the outer ones
        distance = _ks_distance(tail, fit, steps)
        if distance < best:
            best, alpha = distance, 1.0 + m / total
    return alpha


def _ks_distance(tail: np.ndarray, fit: np.ndarray, steps: np.ndarray) -> float:
    first = np.concatenate([[True], tail[1:] != tail[:-1]])
    last = np.concatenate([first[1:], [True]])
    below = fit[first] - steps[:-1][first]
    above = steps[1:][last] - fit[last]
    return float(max(below.max(), above.max()))
