"""Mergeable centred moments in float64: count, mean and co-moment matrix (Pébay 2008).

A moments tensor packs all three, ``[[n, meanᵀ], [mean, M2]]``, so that they travel, merge and reduce as one state.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.rows import checked_features


class Moments(NamedTuple):
    """Count, mean and centred co-moments of n rows.

    Attributes:
        n: number of rows, a float64 scalar (exact below 2**53).
        mean: mean over the rows, ``(d,)``.
        M2: sum over the rows of ``(h - mean)(h - mean)ᵀ``, ``(d, d)``; divide by n for the population covariance.
    """

    n: Tensor
    mean: Tensor
    M2: Tensor

    @property
    def covariance(self) -> Tensor:
        """Population covariance ``M2 / n``, ``(d, d)``."""
        return self.M2 / self.n

    @property
    def second_moment(self) -> Tensor:
        """Uncentred second moment ``E[hhᵀ]``, ``(d, d)``."""
        return self.covariance + torch.outer(self.mean, self.mean)


def moments(features: Float[Tensor, "n d"]) -> Moments:
    """Compute the centred moments of the rows, two-pass, in float64.

    Args:
        features: ``(n, d)``, any floating dtype; one NaN or infinite value makes all moments that it enters NaN, so
            leave such rows out before (``finite_rows``).

    Returns:
        The moments; all zero for n = 0.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if they are not a matrix.

    Example:
        >>> moments(torch.tensor([[1.0], [3.0]])).M2
        tensor([[2.]], dtype=torch.float64)
    """
    h = checked_features(features).to(torch.float64)
    n = h.new_tensor(float(len(h)))
    if len(h) == 0:
        return Moments(n, h.new_zeros(h.shape[1]), h.new_zeros(h.shape[1], h.shape[1]))
    # the second subtraction removes what rounding left in the first mean
    mean = h.mean(dim=0)
    h = h - mean
    rest = h.mean(dim=0)
    h = h - rest
    return Moments(n, mean + rest, h.T @ h)


def merge(a: Moments, b: Moments) -> Moments:
    """Merge the moments of two disjoint sets of rows (Pébay 2008, SAND2008-6212).

    Example:
        >>> left, right = moments(torch.tensor([[1.0]])), moments(torch.tensor([[3.0]]))
        >>> merge(left, right).M2
        tensor([[2.]], dtype=torch.float64)
    """
    n = a.n + b.n
    delta = b.mean - a.mean
    share = b.n / n.clamp(min=1.0)
    return Moments(n, a.mean + share * delta, a.M2 + b.M2 + (a.n * share) * torch.outer(delta, delta))


def pack(m: Moments) -> Float64[Tensor, "1 d1 d1"]:
    """Pack moments into one tensor of shape ``(1, d + 1, d + 1)``, all zero where n = 0."""
    top = torch.cat([m.n.reshape(1), m.mean])
    return torch.cat([top[None], torch.cat([m.mean[:, None], m.M2], dim=1)])[None]


def unpack(packed: Float64[Tensor, "1 d1 d1"]) -> Moments:
    """Undo ``pack``."""
    return Moments(packed[0, 0, 0], packed[0, 0, 1:], packed[0, 1:, 1:])


def merge_packed(parts: Float64[Tensor, "k 1 d1 d1"]) -> Float64[Tensor, "1 d1 d1"]:
    """Fold k packed moments into one: the reduction over ranks and instances (a ``dist_reduce_fx``)."""
    if parts.shape[-1] == 0:
        return parts[0]
    total = unpack(parts[0])
    for part in parts[1:]:
        total = merge(total, unpack(part))
    return pack(total)
