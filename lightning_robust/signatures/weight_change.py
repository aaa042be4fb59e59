"""How far a weight matrix has moved from its reference, how many directions that took, and which (METHODS 3)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.spectrum import MatrixSpectrum, Method, check_weight, matrix_spectrum, own_eps


@dataclass(frozen=True, eq=False)
class WeightChange:
    """The change ``ΔW = W − W0`` of one matrix.

    Attributes:
        spectrum: of ΔW: singular values, stable and effective rank, alpha; the ranks are NaN where nothing changed.
            ΔW carries the rounding of W and W0, so alpha is fitted to singular values above ``ε (‖W0‖_F + ‖ΔW‖_F)``, a
            bound on that of both rounded once; ε as in ``MatrixSpectrum``. The ranks count all values.
        relative_frobenius: ``‖ΔW‖_F / ‖W0‖_F``; infinite where W0 is zero and W is not, NaN where both are.
        relative_spectral: ``σ₁(ΔW) / σ₁(W0)``; likewise.
        input_share: ``‖ΔW V_k‖_F² / ‖ΔW‖_F²``, V_k the k leading right singular vectors of W0: how much of the change
            reads from W0's leading directions, in [0, 1]; a random change gives k/in. NaN where nothing changed or W0
            is zero.
        output_share: ``‖U_kᵀ ΔW‖_F² / ‖ΔW‖_F²``, with the left ones: how much of it writes there; by chance k/out.
        top: k, at most the rank of W0; 0 where the shares were not asked for or a value is not finite.
    """

    spectrum: MatrixSpectrum
    relative_frobenius: float
    relative_spectral: float
    input_share: float
    output_share: float
    top: int


@dataclass(frozen=True, eq=False)
class LeadingDirections:
    """What a change is compared with.

    Attributes:
        frobenius: ``‖W0‖_F``.
        largest: ``σ₁(W0)``.
        U: leading left singular vectors of W0, ``(out, k)``.
        V: leading right singular vectors, ``(in, k)``.
    """

    frobenius: float
    largest: float
    U: Float64[Tensor, "out k"]
    V: Float64[Tensor, "inp k"]


def leading_directions(reference: Float[Tensor, "out inp"], top: int) -> LeadingDirections:
    """Norms and leading singular vectors of a matrix, by the eigenvectors of its smaller Gram matrix.

    Args:
        reference: ``(out, in)``.
        top: how many directions; fewer where the rank (see ``leading_rank``) is smaller.

    Returns:
        The frozen record, in float64.

    Example:
        >>> leading_directions(torch.diag(torch.tensor([3.0, 4.0])), 1).V.abs()
        tensor([[0.],
                [1.]], dtype=torch.float64)
    """
    W0 = reference.detach().to(torch.float64)
    size = float(W0.abs().max())
    scaled = W0 / size if size > 0 else W0  # squares of tiny weights underflow
    wide = W0.shape[0] <= W0.shape[1]
    narrow = scaled if wide else scaled.T
    eigenvalues, vectors = torch.linalg.eigh(narrow @ narrow.T)
    sigma = eigenvalues.clamp(min=0).sqrt().flip(0)
    k = min(top, leading_rank(sigma, reference))
    near = vectors.flip(1)[:, :k]
    far = narrow.T @ near / sigma[:k]
    U, V = (near, far) if wide else (far, near)
    return LeadingDirections(float(torch.linalg.vector_norm(scaled)) * size, float(sigma[0]) * size, U, V)


def leading_rank(singular_values: Float64[Tensor, " k"], weight: Float[Tensor, "out inp"]) -> int:
    """How many directions of a weight are its own: those above its rounding, and above that of its Gram matrix.

    Args:
        singular_values: of the weight, descending.
        weight: ``(out, in)``; its longer side and precision decide what is rounding.

    Returns:
        The rank.

    Example:
        >>> leading_rank(torch.tensor([3.0, 1e-7], dtype=torch.float64), torch.ones(2, 2))
        1
    """
    longest = max(weight.shape)
    least = max(math.sqrt(longest * torch.finfo(torch.float64).eps), longest * own_eps(weight))
    return int((singular_values > least * singular_values[0]).sum())


def weight_change(
    weight: Float[Tensor, "out inp"],
    reference: Float[Tensor, "out inp"],
    *,
    top: int = 10,
    method: Method = "auto",
    directions: LeadingDirections | None = None,
) -> WeightChange:
    """Spectrum and size of a change, and where it lies relative to the leading singular directions of the reference.

    Args:
        weight: W, ``(out, in)``.
        reference: W0, of the same shape.
        top: k of the shares; 0 leaves them out.
        method: of the singular values of ΔW; see ``matrix_spectrum``.
        directions: ``leading_directions(reference, top)`` where it is known already.

    Returns:
        The frozen record.

    Raises:
        TypeError: if one is no tensor.
        ValueError: if they are no matrices, the shapes differ, or a value is not finite.

    Example:
        >>> W0 = torch.diag(torch.tensor([4.0, 1.0]))
        >>> change = weight_change(W0 + torch.diag(torch.tensor([1.0, 0.0])), W0, top=1)
        >>> change.relative_spectral, round(change.input_share, 6)
        (0.25, 1.0)
    """
    check_weight(weight)
    check_weight(reference)
    if weight.shape != reference.shape:
        raise ValueError(f"the reference has shape {tuple(reference.shape)}, the weight {tuple(weight.shape)}.")
    delta = weight.detach().to(torch.float64) - reference.detach().to(weight.device, torch.float64)
    largest = float(delta.abs().max())
    if not math.isfinite(largest):
        raise ValueError("the weight or its reference holds values that are not finite, so there is no change.")
    start = directions or leading_directions(reference, top)
    frobenius = float(torch.linalg.vector_norm(delta / largest)) * largest if largest > 0 else 0.0
    eps = max(own_eps(weight), own_eps(reference))
    spectrum = matrix_spectrum(delta, method, noise=eps * (start.frobenius + frobenius))
    size = float(spectrum.singular_values[0])
    shares = (math.nan, math.nan)
    k = start.V.shape[1]
    if size > 0 and k:
        moved = delta / frobenius
        U, V = start.U.to(delta.device), start.V.to(delta.device)
        shares = float((moved @ V).square().sum()), float((U.T @ moved).square().sum())
    return WeightChange(
        spectrum=spectrum,
        relative_frobenius=_ratio(frobenius, start.frobenius),
        relative_spectral=_ratio(size, start.largest),
        input_share=shares[0],
        output_share=shares[1],
        top=k,
    )


def _ratio(part: float, whole: float) -> float:
    if whole > 0:
        return part / whole
    return math.inf if part > 0 else math.nan
