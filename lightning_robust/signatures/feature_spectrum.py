"""Spectrum of the representation: eigenvalues of its second moment and covariance, both from one pass (METHODS 3)."""

from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.moments import Moments, merge, merge_packed, moments, pack, unpack
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
        ``n``: images.

    Eigenvalues below ``d · eps · λ₁`` are rounding and are set to zero; ranks of an all-zero spectrum are NaN, and all
    figures but n are NaN once a feature was not finite.

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

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("state", torch.zeros(1, 0, 0, dtype=torch.float64), dist_reduce_fx=merge_packed)

    def update(self, features: Float[Tensor, "n d"]) -> None:
        """Add the images of one batch, ``(n, d)``."""
        batch = moments(features.to(self.device))
        if self.state.shape[1] == 0:
            self.state = pack(batch)
            return
        seen, d = self.state.shape[1] - 1, len(batch.mean)
        if seen != d:
            raise ValueError(f"this metric has seen {seen} features per image, now it got {d}.")
        self.state = pack(merge(unpack(self.state), batch))

    def moments(self) -> Moments:
        """Count, mean and co-moments of what this instance has seen.

        Raises:
            RuntimeError: if it has seen nothing.
        """
        if self.state.shape[1] == 0 or float(self.state[0, 0, 0]) == 0:
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
            "n": seen.n.to(torch.int64),
        }


def _eigenvalues(matrix: Float64[Tensor, "d d"]) -> Float64[Tensor, " d"]:
    if not bool(matrix.isfinite().all()):
        return matrix.new_full((len(matrix),), float("nan"))
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2).flip(0)
    rounding = len(matrix) * torch.finfo(torch.float64).eps * values[0]
    return torch.where(values > rounding, values, 0.0)
