"""A weight matrix as a product `A B` of low rank: the best one for the inputs that it sees, or the plain one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIDES = ("input", "output")
_RIDGE = 1e-10  # of the mean variance: decides only among directions that the images leave undecided
_DAMPING = 1e-2  # of the mean sensitivity: no output is free, and no factor ill-conditioned


@dataclass(frozen=True, eq=False)
class LowRankFactors:
    """`W x ≈ A (B x) + shift`.

    Attributes:
        A: `(out, k)`; without a sensitivity its columns are orthonormal and B is `Aᵀ W`.
        B: `(k, in)`.
        shift: What is added to the layer's bias, `(out,)`; None where nothing is known of the mean.
        residual: Error `E‖W x − A B x − shift‖²` on the images, in the norm of the sensitivity where there is one;
            `‖W − A B‖²` (Frobenius) where no images were used.
    """

    A: Tensor
    B: Tensor
    shift: Tensor | None
    residual: float


@dataclass(frozen=True, eq=False)
class Truncation:
    """The best approximations of one weight matrix at every rank, from one decomposition, in float64.

    Attributes:
        weight: `P W`, `(p, in)`. A convolution's W is flattened to `(out, in·kh·kw)`. P = I where there is nothing to
            change, else an orthonormal basis of W's span (where out > in) times R, with `RᵀR = G/ḡ + 0.01 I` for the
            mean eigenvalue ḡ of a sensitivity G.
        basis: Output directions `u_i` as orthonormal columns, most energy first, `(p, m)`, m = min(out, in).
        energies: `ḡ E⟨u_i, P W x⟩²` (about the mean where it is corrected), `(m,)`; `σ_i²` without images.
        mean: Mean of `P W x`, `(p,)`; None where it is not corrected.
        undo: From the coordinates of `P W x` back to outputs, `(out, p)`; None where P = I.
    """

    weight: Tensor
    basis: Tensor
    energies: Tensor
    mean: Tensor | None
    undo: Tensor | None = None

    @property
    def total(self) -> float:
        """What rank 0 loses: `E‖W x‖²`, about the mean where it is corrected, in the norm of the sensitivity."""
        return float(self.energies.sum())

    def residual(self, k: int) -> float:
        """What rank k loses: the energies from k on.

        Args:
            k: Rank, from 0 to m.
        """
        return float(self.energies[self._checked(k) :].sum())

    def at(self, k: int, dtype: torch.dtype | None = None) -> LowRankFactors:
        """The best factors of rank k.

        Args:
            k: Rank, from 0 to m; at m, `A B` is W up to rounding, whatever the images were.
            dtype: Of the factors; None keeps float64.

        Raises:
            ValueError: If k is out of range.
        """
        A = self.basis[:, : self._checked(k)]
        B = A.T @ self.weight
        shift = None if self.mean is None else self.mean - A @ (A.T @ self.mean)
        if self.undo is not None:
            A = self.undo @ A
            shift = None if shift is None else self.undo @ shift
        dtype = dtype or A.dtype
        return LowRankFactors(
            A.to(dtype).contiguous(),
            B.to(dtype).contiguous(),
            None if shift is None else shift.to(dtype),
            self.residual(k),
        )

    def _checked(self, k: int) -> int:
        if not 0 <= k <= len(self.energies):
            raise ValueError(f"The rank is between 0 and {len(self.energies)}, not {k}.")
        return k


def decompose(
    weight: Tensor,
    covariance: Tensor | None = None,
    *,
    mean: Tensor | None = None,
    side: str = "input",
    sensitivity: Tensor | None = None,
) -> Truncation:
    """Decompose a weight matrix so that it can be cut to any rank.

    The `A B` of rank k with the least `E‖W x − A B x‖²` is `U_k U_kᵀ W`, where U are the left singular vectors of
    `W Σ^{1/2}` for `Σ = E[x xᵀ]` (reduced-rank regression; for networks: Wang et al. 2024, SVD-LLM, arXiv 2403.07378;
    Yuan et al. 2023, ASVD, arXiv 2312.05821): the principal directions of the outputs. Nothing is inverted, so Σ may
    be singular; among directions that no image uses those of the larger weight come first, so that the full rank is W.
    With a `mean`, the covariance is the centred one and the bias makes up for the mean of what is cut: never a larger
    error at the same rank. Without a covariance it is the plain SVD (Eckart & Young 1936), whose error on the images
    is never smaller. With a sensitivity G the error is `E eᵀ(G + ε I) e` for `e = W x − A B x`, ε a hundredth of G's
    mean eigenvalue: errors count by how far they move the network's output.

    Args:
        weight: W, `(out, in)`.
        covariance: Σ of the inputs, `(in, in)`, or of the outputs `W x`, `(out, out)`: either gives the same answer.
            Second moments about 0, or about the mean if `mean` is given.
        mean: Of the inputs, `(in,)`, or of the outputs without bias, `(out,)`; as `side` says.
        side: "input" or "output", which the moments are of.
        sensitivity: G, `(out, out)`; or of the coordinates in W's span, `(in, in)` where out > in, as `OutputGradients`
            has it; None counts all errors alike.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, a sensitivity has an eigenvalue below 0, or a mean or a
            sensitivity has no covariance beside it.

    Example:
        >>> W = torch.diag(torch.tensor([3.0, 1.0]))
        >>> decompose(W).at(1).A.abs().flatten().tolist()
        [1.0, 0.0]
        >>> quiet_first_input = torch.diag(torch.tensor([0.01, 1.0]))
        >>> decompose(W, quiet_first_input).at(1).A.abs().flatten().tolist()
        [0.0, 1.0]
    """
    W = _checked_matrix("weight", weight)
    if covariance is None:
        if mean is not None or sensitivity is not None:
            raise ValueError("A mean and a sensitivity are used only together with a covariance; give both, or none.")
        return Truncation(W, *_singular(W), None)
    if side not in SIDES:
        raise ValueError(f"side is one of {', '.join(SIDES)}, not {side!r}.")
    size = W.shape[1] if side == "input" else W.shape[0]
    C = _checked_matrix("covariance", covariance)
    if C.shape != (size, size):
        raise ValueError(f"The covariance of the {side}s is {size} × {size}, not {' × '.join(map(str, C.shape))}.")
    middle, undo, scale = _checked_mean(mean, side, size), None, 1.0
    if len(W) > W.shape[1]:  # outputs and the best A lie in the span of W: the rest is done there
        undo, W = torch.linalg.qr(W)
        if side == "output":
            C, middle = undo.T @ C @ undo, None if middle is None else undo.T @ middle
    if side == "input":
        C, middle = W @ C @ W.T, None if middle is None else W @ middle
    if sensitivity is not None:
        R, scale = _root(_within(sensitivity, undo, len(weight), len(W)))
        W, C, middle = R @ W, R @ C @ R.T, None if middle is None else R @ middle
        identity = torch.eye(len(R), dtype=R.dtype, device=R.device)
        undo = torch.linalg.solve_triangular(R, identity if undo is None else undo, upper=True, left=False)
    basis = _basis(W, C)
    energies = scale * (C @ basis * basis).sum(dim=0).clamp(min=0)
    return Truncation(W, basis, energies, middle, undo)


def _singular(W: Tensor) -> tuple[Tensor, Tensor]:
    if len(W) < W.shape[1]:  # twice as fast on the transpose
        _, S, Vh = torch.linalg.svd(W.T, full_matrices=False)
        return Vh.T, S.square()
    U, S, _ = torch.linalg.svd(W, full_matrices=False)
    return U, S.square()


def _within(sensitivity: Tensor, span: Tensor | None, out: int, width: int) -> Tensor:
    G = _checked_matrix("sensitivity", sensitivity)
    if G.shape == (width, width):
        return G
    if span is None or G.shape != (out, out):
        raise ValueError(f"The sensitivity is {out} × {out}, not {' × '.join(map(str, G.shape))}.")
    return span.T @ G @ span


def _root(G: Tensor) -> tuple[Tensor, float]:
    """Upper triangular R with `RᵀR = G/ḡ + 0.01 I`, and ḡ."""
    scale = float(G.diagonal().mean().clamp(min=0))
    damped = (G + G.T) / (2 * (scale or 1.0))
    damped.diagonal().add_(_DAMPING)
    R, failed = torch.linalg.cholesky_ex(damped, upper=True)
    if int(failed):
        raise ValueError("The sensitivity has an eigenvalue below 0; it is a sum of squares.")
    return R, scale


def _basis(W: Tensor, covariance: Tensor) -> Tensor:
    gram = W @ W.T
    # Σ = λI gives λ W Wᵀ, so the ratio of traces is the mean variance of an input, as the outputs see it
    scale = float(covariance.diagonal().sum()) / (float(gram.diagonal().sum()) or 1.0)
    mixed = covariance + (_RIDGE * scale or _RIDGE) * gram
    vectors: Tensor = torch.linalg.eigh((mixed + mixed.T) / 2).eigenvectors
    return vectors.flip(1)


def _checked_mean(mean: Tensor | None, side: str, size: int) -> Tensor | None:
    if mean is None:
        return None
    if mean.shape != (size,) or not bool(mean.isfinite().all()):
        raise ValueError(f"The mean of the {side}s is {size} finite numbers, not of shape {tuple(mean.shape)}.")
    return mean.detach().double()


def _checked_matrix(what: str, matrix: Tensor) -> Tensor:
    if matrix.ndim != 2 or not matrix.is_floating_point() or 0 in matrix.shape:
        raise ValueError(f"The {what} is a floating-point matrix, not {matrix.dtype} of shape {tuple(matrix.shape)}.")
    if not bool(matrix.isfinite().all()):
        raise ValueError(f"The {what} has values that are not finite.")
    return matrix.detach().double()
