"""Reduced-rank regression: the truncation of a head that is best for its logits on these images (METHODS 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lightning_robust.signatures.bases import checked_head, head_rank
from lightning_robust.signatures.feature_spectrum import FeatureSpectrum
from lightning_robust.signatures.importance import centre_head
from lightning_robust.signatures.rows import checked_features, float64_pieces, unit_rows


@dataclass(frozen=True, eq=False)
class ReducedRank:
    """The best rank-k approximations of the logits ``z = W h``, for every k from 0 to r.

    Attributes:
        energies: ``s_i² = E⟨u_i, W h⟩²``, descending, ``(r,)``; together the logits' second moment ``E‖W h‖²``.
        logit_directions: ``u_i`` as columns, orthonormal, ``(C, r)``: which logits move together.
        directions: ``Wᵀu_i`` scaled to unit length, as columns, ``(d, r)``: what component i reads from h. They are
            not orthogonal to each other: orthogonal are the components on these images.
        weight: the head that was truncated (centred, where asked for), ``(C, d)`` in float64.
        centred: whether the head was centred first.
        r: rank of ``W Σ^{1/2}``, at most that of W; 0 where the images give no logits at all.
    """

    energies: Float64[Tensor, " r"]
    logit_directions: Float64[Tensor, "C r"]
    directions: Float64[Tensor, "d r"]
    weight: Float64[Tensor, "C d"]
    centred: bool
    r: int

    @property
    def explained(self) -> Float64[Tensor, " r"]:
        """Share of the logits' second moment that the best head of rank 1, 2, …, r keeps; ends at 1."""
        return self.energies.cumsum(dim=0) / self.energies.sum()

    def head(self, k: int) -> Float64[Tensor, "C d"]:
        """The best head of rank k, ``W_k = U_k U_kᵀ W``.

        Args:
            k: rank, from 0 to r.

        Raises:
            ValueError: if k is not between 0 and r.
        """
        U = self.logit_directions[:, : self._checked(k)]
        return U @ (U.T @ self.weight)

    def residual(self, k: int) -> float:
        """What no head of rank k can keep: ``min E‖W h − W_k h‖² = Σ_{i>k} s_i²``.

        Args:
            k: rank, from 0 to r.

        Raises:
            ValueError: if k is not between 0 and r.
        """
        return float(self.energies[self._checked(k) :].sum())

    def rank_for(self, share: float) -> int:
        """The smallest rank that keeps a share of the logits' second moment.

        Args:
            share: in (0, 1].

        Raises:
            ValueError: if the share is out of range.
        """
        return rank_for(self.explained, share)

    def _checked(self, k: int) -> int:
        if not 0 <= k <= self.r:
            raise ValueError(f"k must be between 0 and the rank, {self.r}, not {k}.")
        return k


def reduced_rank(
    head: Float[Tensor, "C d"], second_moment: Float[Tensor, "m m"], *, centred: bool = False
) -> ReducedRank:
    """Truncate a head optimally for its logits, given the second moment of what it reads.

    ``E‖W h − W_k h‖² = ‖W Σ^{1/2} − W_k Σ^{1/2}‖_F²`` with ``Σ = E[hhᵀ]``, so that by Eckart and Young the best head of
    rank k has ``W_k Σ^{1/2} = U_k S_k V_kᵀ``, the truncated SVD of ``W Σ^{1/2}``. Since ``U_k S_k V_kᵀ = U_k U_kᵀ W
    Σ^{1/2}``, this is ``W_k = U_k U_kᵀ W``, and Σ need not be invertible. (Reduced-rank regression of the logits on h:
    Izenman 1975.) It is the activation-aware alternative to keeping the most important right singular vectors, and no
    choice of k directions keeps more.

    Softmax ignores what all logits share, so the centred head beside the raw one says how much of the raw figure is
    about predictions.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        second_moment: ``Σ = E[hhᵀ]``, ``(d, d)``, of *what the head reads*: where the model normalises before the head,
            of unit vectors (``FeatureSpectrum`` at the normalising layer: ``metric.moments().second_moment``).
        centred: centre the head first, see ``centre_head``.

    Returns:
        The frozen record.

    Raises:
        TypeError: if the head is not a tensor.
        ValueError: if a matrix is not finite, the shapes do not fit, or Σ has a clearly negative eigenvalue.

    Example:
        >>> W = torch.diag(torch.tensor([3.0, 2.0]))
        >>> found = reduced_rank(W, torch.diag(torch.tensor([1.0, 4.0])))
        >>> found.energies  # the smaller singular value, and the larger share of the logits
        tensor([16.,  9.], dtype=torch.float64)
        >>> found.head(1)
        tensor([[0., 0.],
                [0., 2.]], dtype=torch.float64)
    """
    W = checked_head(head)
    W = centre_head(W) if centred else W
    root = _root(second_moment.to(W.device))
    if W.shape[1] != len(root):
        raise ValueError(f"the second moment has {len(root)} features, the head has shape {tuple(head.shape)}.")
    U, s, _ = torch.linalg.svd(W @ root, full_matrices=False)
    r = min(int((s > _rounding(W, root)).sum()), head_rank(torch.linalg.svdvals(W), head, centred=centred))
    U = U[:, :r]
    signs = U.gather(0, U.abs().argmax(dim=0, keepdim=True)).sign() if r else U.new_ones(1, 0)
    U = (U * signs).contiguous()
    read = W.T @ U
    return ReducedRank(
        energies=s[:r].square(),
        logit_directions=U,
        directions=read / torch.linalg.vector_norm(read, dim=0),
        weight=W,
        centred=centred,
        r=r,
    )


def reduced_rank_regression(
    head: Float[Tensor, "C d"], features: Float[Tensor, "n d"], *, unit_norm: bool, centred: bool = False
) -> ReducedRank:
    """``reduced_rank`` from the features of n images.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        features: raw encoder output, ``(n, d)``; images with a NaN or infinite feature are left out.
        unit_norm: whether the model scales h to unit length before the head (a CLIP does): Σ is then that of the unit
            vectors.
        centred: centre the head first.

    Returns:
        The frozen record.

    Raises:
        ValueError: if no image is left, or the shapes do not fit.

    Example:
        >>> found = reduced_rank_regression(torch.eye(2), torch.tensor([[3.0, 0.0], [0.0, 1.0]]), unit_norm=True)
        >>> found.explained
        tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    metric = FeatureSpectrum()
    metric.update(read_by_head(checked_features(features), unit_norm=unit_norm))
    seen = metric.moments()
    if float(seen.n) == 0:
        raise ValueError(f"none of the {len(features)} images has finite features: there are no logits to keep.")
    return reduced_rank(head, seen.second_moment, centred=centred)


def read_by_head(features: Float[Tensor, "n d"], *, unit_norm: bool) -> Float[Tensor, "n d"]:
    """What the head reads: the features as they are, or in float64 and of unit length.

    Args:
        features: raw encoder output, ``(n, d)``.
        unit_norm: whether the model normalises before the head.
    """
    if not unit_norm or len(features) == 0:
        return features
    return torch.cat([unit_rows(rows) for rows in float64_pieces(features)])


def kept_by_directions(
    sigma: Float64[Tensor, " r"],
    directions: Float64[Tensor, "d r"],
    second_moment: Float64[Tensor, "d d"],
    order: Int64[Tensor, " r"] | Sequence[int],
) -> Float64[Tensor, " r"]:
    """Share of the logits' second moment that the first 1, 2, …, r right singular vectors keep, in a given order.

    Left singular vectors are orthonormal, so ``E‖W V_k V_kᵀ h‖² = Σ σ_i² v_iᵀ Σ v_i`` over the directions kept. With
    the order of importance this is the curve that ``ReducedRank.explained`` bounds from above.

    Args:
        sigma: singular values of the head, ``(r,)``.
        directions: right singular vectors as columns, ``(d, r)``.
        second_moment: ``E[hhᵀ]`` of what the head reads, ``(d, d)``.
        order: the indices of the directions, first the one that is kept longest.

    Returns:
        The shares, ``(r,)``, ending at 1; NaN where there are no logits.

    Raises:
        ValueError: if the order does not name every direction once.

    Example:
        >>> sigma, V = torch.tensor([3.0, 2.0], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
        >>> kept_by_directions(sigma, V, torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)), [0, 1])
        tensor([0.3600, 1.0000], dtype=torch.float64)
    """
    chosen = torch.as_tensor(order, device=sigma.device, dtype=torch.int64)
    if chosen.sort().values.tolist() != list(range(len(sigma))):
        raise ValueError(f"order must name each of the {len(sigma)} directions once, not {chosen.tolist()[:10]}.")
    energies = sigma.square() * (directions * (second_moment @ directions)).sum(dim=0)
    return energies[chosen].cumsum(dim=0) / energies.sum()


def rank_for(shares: Float64[Tensor, " r"], share: float) -> int:
    """How many directions a cumulative curve needs to reach a share; 0 for an empty or undefined curve.

    Args:
        shares: ascending, ``(r,)``, ending at 1.
        share: in (0, 1].

    Raises:
        ValueError: if the share is out of range.

    Example:
        >>> rank_for(torch.tensor([0.5, 0.9, 1.0], dtype=torch.float64), 0.9)
        2
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {share}.")
    if len(shares) == 0 or not bool(shares.isfinite().all()):
        return 0
    # cumulative sums of exact shares may end a rounding below them
    return min(int((shares < share - 1e-12).sum()) + 1, len(shares))


def _root(second_moment: Tensor) -> Float64[Tensor, "d d"]:
    """A square root R of Σ, ``R Rᵀ = Σ``; any root gives W R the same left singular vectors and singular values."""
    if second_moment.ndim != 2 or second_moment.shape[0] != second_moment.shape[1] or second_moment.numel() == 0:
        raise ValueError(f"second_moment must have shape (d, d), not {tuple(second_moment.shape)}.")
    moment = second_moment.detach().to(torch.float64)
    if not bool(moment.isfinite().all()):
        raise ValueError("second_moment must be finite: leave out images that are not.")
    values, vectors = torch.linalg.eigh((moment + moment.T) / 2)
    if float(values[0]) < -1e-6 * float(values[-1].abs()):
        raise ValueError(f"second_moment must have no negative eigenvalue, not {float(values[0]):g}.")
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root


def _rounding(W: Tensor, root: Tensor) -> float:
    """Below this a singular value of W R is rounding of the moment: Σ's eigenvalues are known to eps, roots to √eps."""
    relative = (max(W.shape) * torch.finfo(torch.float64).eps) ** 0.5
    return float(relative * torch.linalg.matrix_norm(W, 2) * torch.linalg.matrix_norm(root, 2))
