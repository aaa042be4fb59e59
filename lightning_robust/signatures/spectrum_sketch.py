"""A randomised sketch of a weight's spectrum: leading values, norm and effective rank, each with its error."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.spectrum import check_weight

_CONVERGED = 1e-2
"""Largest residual, relative to the eigenvalue, of a Ritz value that counts as an eigenvalue by itself."""

_CHANCE = 4
"""Standard deviations by which the weight of converged values may exceed its expectation."""

_PIECE = 512


@dataclass(frozen=True, eq=False)
class SketchSpectrum:
    """What a sketch knows of the singular values of W.

    Attributes:
        leading: estimates of the k largest singular values, descending; up to rounding (1e-7 ‖W‖² in their squares
            for float32 weights) none is too large.
        residuals: for each of them a distance within which W has a singular value, a bound. That it is the one of the
            same rank is likely, not certain; ``upper`` is certain.
        upper: bound from above on each of the k largest, ``√(leading² + ‖W − W V Vᵀ‖_F²)``, V the basis of the sketch.
        frobenius: ``‖W‖_F``, the root of the Gram matrix's trace: within 2e-7 of itself for float32 weights (1e-9 where
            roundings are random), to rounding for float64 ones.
        stable_rank: ``‖W‖_F²/leading₁²``: up to rounding none too small; at least ``‖W‖_F²/upper₁²``.
        effective_rank: estimate of ``exp(H(σ/Σσ))``: geometric mean of the next two.
        effective_rank_low: what a Gauss-Radau rule with a node at 0 gives for Σσ and Σσ·ln σ, less two standard errors
            over the random starts; what cannot be told from rounding counts as 0.
        effective_rank_high: likewise by the Gauss rule, two standard errors and the rounding of ‖W‖_F² added. An
            estimate of the error, no bound: for Σ√λ the rules are bounds in expectation, for the effective rank none,
            and chance reaches beyond two standard errors (one draw in twenty by up to 2 % for a few values above many
            equal ones, none in a hundred for spectra that decay). Below ``1e-3 σ₁`` float32 products lose directions:
            where hundreds of values form a plateau down there, like the rounding of a bfloat16 weight of rank few,
            one draw in three missed, by up to 4 %. The rank is that of W as stored, its rounding included.
    """

    leading: Float64[Tensor, " k"]
    residuals: Float64[Tensor, " k"]
    upper: Float64[Tensor, " k"]
    frobenius: float
    stable_rank: float
    effective_rank: float
    effective_rank_low: float
    effective_rank_high: float


def sketch_spectrum(
    weight: Float[Tensor, "out *rest"], k: int = 10, *, block: int = 12, steps: int = 4, seed: int = 0
) -> SketchSpectrum:
    """Sketch a spectrum from ``2·steps`` products of the weight with ``block`` vectors: O(out·in·block·steps).

    A block Krylov space of the smaller Gram matrix from random orthonormal vectors (Musco & Musco 2015): Rayleigh-Ritz
    gives the leading values, and the same small matrix is the quadrature rule for sums over all values (block Lanczos
    quadrature, Golub & Meurant 2010), scaled to the exact ‖W‖_F². Products run in the weight's own precision (half
    precision in float32), the small problem in float64. Matrices no wider than the Krylov space are decomposed exactly.

    Args:
        weight: ``(out, in)``; convolutions are flattened to ``(out, in·kh·kw)``.
        k: how many leading values; fewer where the matrix has fewer.
        block: random vectors; more of them, less chance in the effective rank.
        steps: products with the Gram matrix; more of them, smaller errors.
        seed: of the vectors; no global random state is touched.

    Returns:
        The frozen record with its errors; NaN ranks for a zero matrix.

    Raises:
        TypeError: if the weight is no tensor.
        ValueError: if the weight is no matrix, is empty or not finite, or k, block or steps does not fit: ``k ≤
            block·steps``, all at least 1, steps at least 2.

    Example:
        >>> W = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)) @ torch.eye(8, 200)
        >>> sketch = sketch_spectrum(W, 3)
        >>> bool((torch.linalg.svdvals(W)[:3] - sketch.leading < 1e-4).all())
        True
    """
    check_weight(weight)
    if block < 1 or steps < 2 or not 1 <= k <= block * steps:
        raise ValueError(
            f"a sketch needs block ≥ 1, steps ≥ 2 and k in 1 … block·steps; got block={block}, steps={steps}, k={k}."
        )
    W = weight.detach().flatten(1)
    W = W if W.dtype in (torch.float32, torch.float64) else W.float()
    size, energy = 1.0, _energy(W)
    if not 1e-20 < energy < 1e20:  # products might leave the range of their precision
        size = float(W.abs().max())
        if not math.isfinite(size):
            raise ValueError("the weight holds values that are not finite, so it has no spectrum.")
        if size == 0:
            zero = torch.zeros(min(k, *W.shape), dtype=torch.float64)
            return SketchSpectrum(zero, zero, zero, 0.0, math.nan, math.nan, math.nan, math.nan)
        size = 2.0 ** math.frexp(size)[1]  # a power of two: dividing by it rounds nothing
        W = W / size
        energy = _energy(W)
    return _sketch(W, energy, min(k, *W.shape), block, steps, seed, size)


def _sketch(W: Tensor, energy: float, k: int, block: int, steps: int, seed: int, size: float) -> SketchSpectrum:
    d = min(W.shape)
    if d <= block * steps:
        W, block, steps = W.double(), d, 1  # all of the space
    V, WV, GV = _krylov(W, block, steps, seed)
    # VᵀGV = RᵀR: values of R are rounded by ε σ₁, roots of the eigenvalues of VᵀGV by √ε σ₁
    R = torch.linalg.qr(WV, mode="r")[1]
    values, S = _values(R)
    theta = values.square()
    eps = torch.finfo(W.dtype).eps
    # of the products, relative to the largest eigenvalue
    rounding = 16 * eps * float(theta[0])
    # and of sums of squares: of W in its precision, of values found in float64
    blurred = (4 * eps + 32 * torch.finfo(torch.float64).eps) * energy
    residual = torch.linalg.vector_norm(GV @ S - V @ (S * theta), dim=0) + rounding
    leading = values[:k]
    missed = (max(energy - float(theta.sum()), 0.0) + blurred if block < d else 0.0) + rounding
    low, high = _effective_rank(
        R, values, S, residual - rounding, energy, blurred, d, block, 8 * eps * float(values[0])
    )
    return SketchSpectrum(
        leading=leading * size,
        # |σ − s| = |σ² − s²|/(σ + s), and what rounds to 0 is within the root of the bound on its square
        residuals=torch.minimum(residual[:k] / leading, residual[:k].sqrt()) * size,
        upper=(theta[:k] + missed).sqrt() * size,
        frobenius=math.sqrt(energy) * size,
        stable_rank=energy / float(theta[0]),
        effective_rank=math.sqrt(low * high),
        effective_rank_low=low,
        effective_rank_high=high,
    )


def _energy(W: Tensor) -> float:
    """Sum of squares: of pieces in the precision of W, of all in float64."""
    flat = W.reshape(-1)
    whole = len(flat) // _PIECE * _PIECE
    norms = torch.linalg.vector_norm(flat[:whole].view(-1, _PIECE), dim=1).double()
    return float(norms.square().sum() + flat[whole:].double().square().sum())


def _krylov(W: Tensor, block: int, steps: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal basis V of the block Krylov space of the smaller Gram matrix G, ``(d, block·steps)``, W V and G V."""
    d = min(W.shape)
    tall = W.shape[0] >= W.shape[1]
    start = torch.randn(d, block, generator=torch.Generator().manual_seed(seed))
    X = torch.linalg.qr(start.to(W.device, torch.float64))[0]
    V, WV, GV = X.new_empty(d, 0), X.new_empty(max(W.shape), 0), X.new_empty(d, 0)
    for step in range(steps):
        narrow = X.to(W.dtype)
        # products with W as its rows lie in memory are a third faster than those with its transpose
        half = W @ narrow if tall else (narrow.T @ W).T
        product = ((half.T @ W).T if tall else W @ half).double()
        V, WV, GV = torch.cat([V, X], 1), torch.cat([WV, half.double()], 1), torch.cat([GV, product], 1)
        if step < steps - 1:
            X = product
            for _ in range(2):  # once more for what rounding left; where nothing is new, QR goes on with any directions
                X = torch.linalg.qr(X - V @ (V.T @ X))[0]
    return V, WV, GV


def _values(R: Tensor) -> tuple[Tensor, Tensor]:
    _, values, Sh = torch.linalg.svd(R, full_matrices=False)
    return values, Sh.T


def _effective_rank(
    R: Tensor,
    values: Tensor,
    S: Tensor,
    residual: Tensor,
    energy: float,
    blurred: float,
    d: int,
    block: int,
    floor: float,
) -> tuple[float, float]:
    """Interval for the effective rank; converged values count as they are, the rest by quadrature."""
    if block == d:
        exact = float(_rank_of(values, values.new_zeros(1, 0), values.new_zeros(0), 0, 0.0)[0])
        return exact, exact
    converged = int((residual <= _CONVERGED * values.square()).int().cumprod(0).sum())
    # more weight than chance gives that many single values: some stand for several, and the rule counts them better
    by_chance = block * converged / d * (1 + _CHANCE * math.sqrt(2 / max(block * converged, 1)))
    if float(S[:block, :converged].square().sum()) > by_chance:
        converged = 0
    alone = values[:converged]
    rest = energy - float(alone.square().sum())
    ends: list[float] = []
    # without its last rows RᵀR has 0 as an eigenvalue ``block`` times: the Gauss-Radau rule
    for (nodes, vectors), sign in (((values, S), 1.0), (_values(R[:-block]), -1.0)):
        each = vectors[:block, converged:].square()
        each = torch.cat([each, 1 - vectors[:block].square().sum(1, keepdim=True)], 1) if sign < 0 else each
        weights = torch.cat([each.sum(0, keepdim=True), each.sum(0) - each])  # all starts, and each left out
        left = nodes[converged:]
        if sign < 0:
            left = torch.cat([(left - floor).clamp(min=0), left.new_zeros(1)])
        energy_left = max(rest + sign * blurred, 0.0)
        ranks = _rank_of(alone, weights, left, d - converged, energy_left)
        ends.append(float(ranks[0] + 2 * sign * math.sqrt(block - 1) * ranks[1:].std(correction=0)))
    return min(max(min(ends), 1.0), float(d)), max(min(max(ends), float(d)), 1.0)


def _rank_of(alone: Tensor, weights: Tensor, nodes: Tensor, number: int, energy: float) -> Tensor:
    """Effective rank from single values and rules ``(r, nodes)`` for ``number`` more of a given sum of squares."""
    counts = weights / weights.sum(1, keepdim=True).clamp(min=1e-300) * number
    second = (counts * nodes.square()).sum(1, keepdim=True).clamp(min=1e-300)
    values = nodes * (energy / second).sqrt()
    total = alone.sum() + (counts * values).sum(1)
    entropy = torch.special.entr(alone).sum() + (counts * torch.special.entr(values)).sum(1)
    ranks: Tensor = (total.log() + entropy / total).exp()
    return ranks
