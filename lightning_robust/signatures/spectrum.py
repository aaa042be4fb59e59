"""Spectrum of a weight matrix: singular values, ranks and the power law of their tail (METHODS 3)."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

Method = Literal["exact", "gram", "auto"]
"""How singular values are found; see ``matrix_spectrum``."""

MIN_TAIL = 10
"""Fewest eigenvalues to which a power law is fitted."""

_SMALL = 64
_LOSSLESS = 1e-12
_BLOCK = 32
"""Tails fitted at once: as many as fit the cache for common widths."""


@dataclass(frozen=True, eq=False)
class MatrixSpectrum:
    """Spectrum of one weight.

    Attributes:
        singular_values: descending, ``(min(out, in·kh·kw),)`` in float64.
        stable_rank: ``‖W‖_F² / σ₁²``, in [1, rank]; NaN for a zero matrix.
        effective_rank: ``exp(H(σ/Σσ))``, in [1, rank]; NaN for a zero matrix. (Roy & Vetterli 2007.)
        alpha: power-law exponent of the tail of the eigenvalues ``σ²`` (see ``power_law_alpha``), of those that are
            not rounding: above ``max(out, in·kh·kw)·ε σ₁``, ε that of the weight's own dtype (float32's for half
            precision, as in ``thin_svd``: what rounding to it adds is counted). NaN where fewer than 10 are, or where
            they are equal up to that (orthogonal weights).
    """

    singular_values: Float64[Tensor, " k"]
    stable_rank: float
    effective_rank: float
    alpha: float


def matrix_spectrum(
    weight: Float[Tensor, "out *rest"], method: Method = "exact", *, noise: float = 0.0
) -> MatrixSpectrum:
    """Compute the spectrum of a weight in float64.

    Args:
        weight: ``(out, in)``; convolutions ``(out, in, kh, kw)`` are flattened to ``(out, in·kh·kw)``.
        method: how the singular values are found.
            ``"exact"``: each to a few units of rounding of the largest (about 1e-15 σ₁).
            ``"gram"``: roots of the eigenvalues of the smaller Gram matrix, two to three times faster. Rounding of
            about 1e-15 σ₁² in an eigenvalue σ² is 1e-15 σ₁²/σ in σ: nothing for the large ones, while those at or
            below ``√(max(out, in)·ε) σ₁`` (4e-7 σ₁ for 768) cannot be told from zero and are given as 0.
            ``"auto"``: ``"gram"`` where the smallest eigenvalue is at least 1e-12 of the largest, so that every σ is
            within 1e-8 σ₁ and none is lost; otherwise, and for matrices of at most 64 rows or columns, ``"exact"``.
        noise: singular values up to this are rounding, too, and no part of the tail; for a weight that is the result
            of a computation, like a difference.

    Returns:
        The frozen record.

    Raises:
        TypeError: if the weight is no tensor.
        ValueError: if the weight is no matrix (a bias, a norm's scale), is empty or not finite, or the method unknown.

    Example:
        >>> spectrum = matrix_spectrum(torch.diag(torch.tensor([2.0, 1.0, 1.0])))
        >>> spectrum.singular_values.tolist(), spectrum.stable_rank
        ([2.0, 1.0, 1.0], 1.5)
    """
    check_weight(weight)
    if method not in ("exact", "gram", "auto"):
        raise ValueError(f"method is 'exact', 'gram' or 'auto', not {method!r}.")
    W = weight.detach().flatten(1).to(torch.float64)
    size = float(W.abs().max())
    if not math.isfinite(size):
        raise ValueError("the weight holds values that are not finite, so it has no spectrum.")
    sigma = None
    if method == "gram" or (method == "auto" and min(W.shape) > _SMALL):
        sigma = _gram_singular_values(W, size, lossless=method == "auto")
    sigma = torch.linalg.svdvals(W) if sigma is None else sigma
    return _spectrum_of(sigma, max(noise, max(W.shape) * own_eps(weight) * float(sigma[0])))


def check_weight(weight: object) -> None:
    """Refuse what is no matrix and no convolution's weight.

    Raises:
        TypeError: if it is no tensor.
        ValueError: if it has fewer than two dimensions, or no entries.
    """
    if not isinstance(weight, Tensor):
        raise TypeError(f"a weight is a torch tensor, not {type(weight).__name__}; torch.as_tensor makes one.")
    if weight.ndim < 2 or weight.numel() == 0:
        raise ValueError(
            f"a spectrum needs a weight of shape (out, in) or (out, in, kh, kw), not {tuple(weight.shape)}."
        )


def own_eps(tensor: Tensor) -> float:
    """Unit of rounding of a weight: float64's or float32's, and float32's for half precision.

    Half-precision weights come from float32 ones by rounding, which makes every direction real.

    Example:
        >>> own_eps(torch.zeros(1, dtype=torch.bfloat16)) == torch.finfo(torch.float32).eps
        True
    """
    return torch.finfo(torch.float64 if tensor.dtype == torch.float64 else torch.float32).eps


def _spectrum_of(sigma: Float64[Tensor, " k"], rounding: float) -> MatrixSpectrum:
    """Ranks, and tail of the singular values above rounding."""
    largest = float(sigma[0])
    # relative to the largest, so that tiny weights do not underflow when squared
    relative = sigma / largest if largest > 0 else sigma
    spread = min(rounding / largest, 1.0) if largest > 0 else 1.0
    return MatrixSpectrum(
        singular_values=sigma,
        stable_rank=float(relative.square().sum()) if largest > 0 else math.nan,
        effective_rank=float(entropy_rank(sigma)),
        alpha=power_law_alpha(relative[relative > spread].square(), rounding=2 * spread),
    )


def _gram_singular_values(W: Tensor, size: float, *, lossless: bool) -> Tensor | None:
    """Roots of the eigenvalues of the smaller Gram matrix; None if some may be lost and none should be."""
    scaled = W / size if size > 0 else W  # squares of tiny weights underflow
    G = scaled @ scaled.T if W.shape[0] <= W.shape[1] else scaled.T @ scaled
    eigenvalues = torch.linalg.eigvalsh(G).flip(0)
    if lossless and not bool(eigenvalues[-1] >= _LOSSLESS * eigenvalues[0]):
        return None
    zero = eigenvalues <= max(W.shape) * torch.finfo(torch.float64).eps * eigenvalues[0]
    sigma: Tensor = eigenvalues.masked_fill(zero, 0.0).sqrt() * size
    return sigma


def entropy_rank(values: Float64[Tensor, " k"]) -> Float64[Tensor, ""]:
    """Exponential of the Shannon entropy of non-negative values divided by their sum, in [1, k]; NaN if all are zero.

    Example:
        >>> entropy_rank(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
        tensor(2., dtype=torch.float64)
    """
    p = values / values.sum()
    entropy: Tensor = torch.special.entr(p).sum()
    return entropy.exp()


def power_law_alpha(
    eigenvalues: Float[Tensor, " k"], min_tail: int = MIN_TAIL, *, rounding: float | None = None
) -> float:
    """Fit the exponent of a continuous power law, ``p(λ) ∝ λ^−α`` for ``λ ≥ λ_min``, to the tail of the eigenvalues.

    ``α = 1 + m / Σ ln(λ_i / λ_min)`` over the m eigenvalues at or above ``λ_min`` (maximum likelihood), and ``λ_min``
    the eigenvalue that makes the Kolmogorov-Smirnov distance between tail and fit smallest (Clauset, Shalizi & Newman
    2009; WeightWatcher reports the same, but also tries shorter tails). Scale-free. The smaller, the heavier the tail.

    Args:
        eigenvalues: positive, in any order, ``(k,)``, of any precision; the fit is in float64.
        min_tail: fewest eigenvalues in the tail; shorter tails fit anything.
        rounding: a tail whose smallest eigenvalue is within this part of its largest is all equal, and is not fitted;
            by default ``2·k·ε`` of the dtype of the eigenvalues.

    Returns:
        The exponent, above 1; NaN with fewer than ``min_tail`` eigenvalues, if they are all equal up to rounding, or
        if one is NaN or infinite.

    Raises:
        TypeError: if the eigenvalues are no tensor.
        ValueError: if they have not one dimension, or one is not positive.

    Example:
        >>> round(power_law_alpha(torch.linspace(0.001, 0.999, 999).pow(-0.5)), 1)  # p(λ) ∝ λ⁻³
        3.0
    """
    if not isinstance(eigenvalues, Tensor):
        raise TypeError(f"eigenvalues are a torch tensor, not {type(eigenvalues).__name__}; torch.as_tensor makes one.")
    if eigenvalues.ndim != 1:
        raise ValueError(f"eigenvalues have one dimension, (k,), not the shape {tuple(eigenvalues.shape)}.")
    if rounding is None:
        rounding = 2 * len(eigenvalues) * own_eps(eigenvalues)
    values = np.sort(eigenvalues.detach().cpu().double().numpy())
    if not np.isfinite(values).all():
        return math.nan
    if len(values) and not values[0] > 0:
        raise ValueError(f"eigenvalues must be positive, the smallest is {values[0]}.")
    logs = np.log(values)
    k = len(logs)
    # the tail of a tied value begins at its first occurrence
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: max(k - min_tail + 1, 0)])
    best, alpha = math.inf, math.nan
    for block in (starts[i : i + _BLOCK] for i in range(0, len(starts), _BLOCK)):
        distances, alphas = _fits(logs, block, rounding)
        closest = int(np.argmin(distances))
        if distances[closest] < best:
            best, alpha = float(distances[closest]), float(alphas[closest])
    return alpha


def _fits(
    logs: NDArray[np.float64], starts: NDArray[np.intp], rounding: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Kolmogorov-Smirnov distance and exponent for the tails that begin at each of a few ascending starts."""
    first, m = int(starts[0]), len(logs) - starts
    # what lies before a row's start takes the place of its start, which changes neither maximum nor sum
    x = np.maximum(logs[first:] - logs[starts, None], 0.0)
    total = x.sum(axis=1)
    fitted = logs[-1] - logs[starts] > rounding  # otherwise all values are equal, and nothing is
    exponent = m / np.where(fitted, total, 1.0)
    x *= -exponent[:, None]
    below = np.expm1(x, out=x)
    # at a tie only the outer steps show, but the inner ones lie between them, so the maxima are the same
    below += np.maximum(np.arange(first, len(logs)) - starts[:, None], 0) / m[:, None]
    distance = np.maximum(-below.min(axis=1), 1.0 / m + below.max(axis=1))
    return np.where(fitted, distance, np.inf), 1.0 + exponent
