"""Spectrum of the representation: eigenvalues of its second moment and covariance, both from one pass (METHODS 3)."""

from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.moments import Moments, merge, merge_packed, moments, pack, unpack
from lightning_robust.signatures.rows import checked_features, finite_rows
from lightning_robust.signatures.spectrum import entropy_rank

_EASY = 1e6


class FeatureSpectrum(MergeableMetric):
    """Accumulate count, mean and centred co-moments of the features; give their spectra and ranks.

    The state has constant size, ``(1, d + 1, d + 1)`` in float64 (4.7 MB for d = 768), merged by Pébay's law.

    ``compute()`` returns a dict of float64 tensors (n is int64):
        ``eigenvalues``: of the uncentred second moment ``E[hhᵀ]``, descending, ``(d,)``.
        ``covariance_eigenvalues``: of the population covariance, descending, ``(d,)``.
        ``rankme``: ``exp H(√λ/Σ√λ)`` on the uncentred eigenvalues, in [1, d] (Garrido et al. 2023).
        ``covariance_effective_rank``: the same formula on the covariance.
        ``participation_ratio``: ``(Σλ)² / Σλ²`` on the covariance, in [1, d].
        ``n``: images seen. ``not_finite``: images among them left out for a NaN or infinite feature.

    Eigenvalues below ``d · eps · λ₁`` of the covariance are rounding and are set to zero, in either spectrum; ranks of
    an all-zero spectrum are NaN, as after a single image those of the covariance, and all figures are NaN where no
    image is left. A mean m far larger than the deviations from it costs the uncentred spectrum nothing: the covariance
    holds no squares of it, and where ``‖m‖² > λ₁`` and ``λ₁ + ‖m‖² > 1e6 λ_d`` (λ of the covariance) the eigenvalues
    come from a decomposition that keeps the two apart, at two to three times the cost.

    Raises:
        ValueError: if the number of features changes between updates.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> metric = FeatureSpectrum()
        >>> metric.update(torch.tensor([[3.0, 1.0], [3.0, -1.0]]))
        >>> metric.compute()["eigenvalues"], metric.compute()["covariance_eigenvalues"]
        (tensor([9., 1.], dtype=torch.float64), tensor([1., 0.], dtype=torch.float64))
    """

    border = 1
    state: Tensor
    not_finite: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("state", torch.zeros(1, 0, 0, dtype=torch.float64), dist_reduce_fx=merge_packed)
        self.add_state("not_finite", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Float[Tensor, "n d"]) -> None:
        """Add the images of one batch, ``(n, d)``."""
        kept, mask = finite_rows(checked_features(features).to(self.device))
        seen, d = self.state.shape[1] - 1, features.shape[1]
        if seen not in (-1, d):
            raise ValueError(f"this metric has seen {seen} features per image, now it got {d}.")
        batch = moments(kept)
        self.state = pack(batch if seen == -1 else merge(unpack(self.state), batch))
        self.not_finite = self.not_finite + (~mask).sum()

    def moments(self) -> Moments:
        """Count, mean and co-moments of the images that this instance has seen and kept.

        Raises:
            RuntimeError: before any update.
        """
        if self.state.shape[1] == 0:
            raise self._nothing_seen()
        return unpack(self.state)

    def compute(self) -> dict[str, Tensor]:
        """Decompose the moments of all images seen; see the class."""
        seen = self.moments()
        centred = _eigenvalues(seen.covariance)
        eigenvalues = _uncentred_eigenvalues(seen, centred)
        shares = centred / centred.sum()
        return {
            "eigenvalues": eigenvalues,
            "covariance_eigenvalues": centred,
            "rankme": entropy_rank(eigenvalues.sqrt()),
            "covariance_effective_rank": entropy_rank(centred.sqrt()),
            "participation_ratio": 1 / shares.square().sum(),
            "n": seen.n.to(torch.int64) + self.not_finite,
            "not_finite": self.not_finite,
        }


def _uncentred_eigenvalues(seen: Moments, centred: Float64[Tensor, " d"]) -> Float64[Tensor, " d"]:
    """Eigenvalues of ``E[hhᵀ] = Σ + mmᵀ``, the small ones too where the mean m is large.

    Summed up, the matrix rounds what is below ``eps ‖m‖²`` away: with a mean of 1e6 standard deviations, half of
    RankMe. Its eigenvalues are the squared singular values of ``[√λ Vᵀ; mᵀ]``, with λ and V of the covariance, which
    holds no squares of the mean. The matrix itself is decomposed where it loses
    nothing that counts: where ``‖m‖² ≤ λ₁``, no more than the covariance has lost already; where ``λ₁ + ‖m‖² ≤ 1e6
    λ_d``, about 1e-9 of the smallest eigenvalue.
    """
    size = seen.mean.square().sum()
    if not bool(size.isfinite()) or not bool(centred.isfinite().all()):
        return torch.full_like(centred, float("nan"))
    if bool(size <= centred[0]) or bool(centred[0] + size <= _EASY * centred[-1]):
        return _eigenvalues(seen.second_moment)
    covariance = seen.covariance
    values, V = torch.linalg.eigh((covariance + covariance.T) / 2)
    eps = len(values) * torch.finfo(torch.float64).eps
    lost = eps * values[-1].clamp(min=0)  # what the covariance does not know, the sum does not either
    roots = values.where(values > lost, 0.0).sqrt()
    s = torch.linalg.svdvals(torch.cat([(V * roots).T, seen.mean[None]]))
    return torch.where(s.square() > lost + (eps * s[0]).square(), s.square(), 0.0)


def _eigenvalues(matrix: Float64[Tensor, "d d"]) -> Float64[Tensor, " d"]:
    if not bool(matrix.isfinite().all()):
        return matrix.new_full((len(matrix),), float("nan"))
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2).flip(0)
    rounding = len(matrix) * torch.finfo(torch.float64).eps * values[0]
    return torch.where(values > rounding, values, 0.0)
