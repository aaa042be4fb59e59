"""Spectrum of the representation: eigenvalues of its second moment and covariance, both from one pass (METHODS 3)."""

from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.moments import Moments, merge, merge_packed, moments, pack, unpack
from lightning_robust.signatures.rows import checked_features, finite_rows
from lightning_robust.signatures.spectrum import entropy_rank


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

    Eigenvalues below ``d · eps · λ₁`` are rounding and are set to zero; ranks of an all-zero spectrum are NaN, as
    after a single image those of the covariance, and all figures are NaN where no image is left.

    Raises:
        ValueError: if the number of features changes between updates.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> metric = FeatureSpectrum()
        >>> metric.update(torch.tensor([[3.0, 1.0], [3.0, -1.0]]))
        >>> metric.compute()["eigenvalues"], metric.compute()["covariance_eigenvalues"]
        (tensor([9., 1.], dtype=torch.float64), tensor([1., 0.], dtype=torch.float64))
    """

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
        eigenvalues = _eigenvalues(seen.second_moment)
        centred = _eigenvalues(seen.covariance)
        return {
            "eigenvalues": eigenvalues,
            "covariance_eigenvalues": centred,
            "rankme": entropy_rank(eigenvalues.sqrt()),
            "covariance_effective_rank": entropy_rank(centred.sqrt()),
            "participation_ratio": centred.sum().square() / centred.square().sum(),
            "n": seen.n.to(torch.int64) + self.not_finite,
            "not_finite": self.not_finite,
        }


def _eigenvalues(matrix: Float64[Tensor, "d d"]) -> Float64[Tensor, " d"]:
    if not bool(matrix.isfinite().all()):
        return matrix.new_full((len(matrix),), float("nan"))
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2).flip(0)
    rounding = len(matrix) * torch.finfo(torch.float64).eps * values[0]
    return torch.where(values > rounding, values, 0.0)
