"""Massive activations: single values thousands of times larger than the rest (METHODS 2)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

MAGNITUDE = 100.0
RATIO = 1000.0


@dataclass(frozen=True, eq=False)
class MassiveActivationReport:
    """Massive activations of n hidden states.

    Attributes:
        mask: True where an activation is massive, the shape of the input.
        per_image: number of massive activations of each hidden state, ``(n,)``.
        largest: largest magnitude of each hidden state, ``(n,)``.
        median: median magnitude of each hidden state, ``(n,)``.
    """

    mask: Bool[Tensor, "n *state"]
    per_image: Int64[Tensor, " n"]
    largest: Float64[Tensor, " n"]
    median: Float64[Tensor, " n"]


def massive_activations(
    hidden: Float[Tensor, "n *state"], magnitude: float = MAGNITUDE, ratio: float = RATIO
) -> MassiveActivationReport:
    """Find activations with ``|a| > magnitude`` and ``|a| > ratio ×`` the median magnitude of their hidden state.

    (Sun et al. 2024, arXiv 2402.17762.) One hidden state is everything that one image has at one layer: ``(d,)``, or
    ``(t, d)`` for t tokens, unpooled. A hidden state with a NaN or infinite value has no massive activations, and
    its largest magnitude and median are NaN.

    Args:
        hidden: ``(n, d)`` or ``(n, t, d)``, any floating dtype.
        magnitude: least magnitude.
        ratio: least ratio to the median magnitude (the mean of the middle two for an even count).

    Returns:
        The frozen report.

    Raises:
        ValueError: if there is no hidden state, or it is empty.

    Example:
        >>> h = torch.full((1, 4, 8), 0.1)
        >>> h[0, 0, 3] = 150.0
        >>> massive_activations(h).mask.nonzero().tolist()
        [[0, 0, 3]]
    """
    if hidden.numel() == 0:
        raise ValueError(f"hidden must have shape (n, d) or (n, t, d) and hold values, not {tuple(hidden.shape)}.")
    flat = checked_hidden(hidden)
    largest, median = largest_magnitudes(flat), median_magnitudes(flat)
    largest, median = (torch.where(largest.isfinite(), size, torch.nan) for size in (largest, median))
    mask = massive(flat, median, magnitude, ratio)
    return MassiveActivationReport(mask.reshape(hidden.shape), mask.sum(dim=1), largest, median)


def checked_hidden(hidden: object) -> Float[Tensor, "n _"]:
    """Return hidden states as one row of values an image, detached, or raise a clear error.

    Raises:
        TypeError: if they are not a tensor of a floating dtype.
        ValueError: if an image has no values.
    """
    if not isinstance(hidden, Tensor):
        raise TypeError(f"hidden must be a torch tensor, not {type(hidden).__name__}: torch.from_numpy(...) makes one.")
    if not hidden.is_floating_point():
        raise TypeError(f"hidden must be floating point, not {hidden.dtype}.")
    if hidden.ndim < 2 or hidden.shape[1:].numel() == 0:
        raise ValueError(f"hidden must have shape (n, d) or (n, t, d) and hold values, not {tuple(hidden.shape)}.")
    return hidden.detach().flatten(1)


def largest_magnitudes(flat: Float[Tensor, "n k"]) -> Float64[Tensor, " n"]:
    """Largest magnitude of each row; NaN or infinite where a value is. Copies no values."""
    return torch.maximum(flat.amax(dim=1), -flat.amin(dim=1)).to(torch.float64)


def median_magnitudes(flat: Float[Tensor, "n k"]) -> Float64[Tensor, " n"]:
    """Median magnitude of each row, the mean of the middle two for an even count."""
    size, k = flat.abs(), flat.shape[1]
    low, high = (size.kthvalue(place, dim=1).values.to(torch.float64) for place in ((k + 1) // 2, k // 2 + 1))
    return (low + high) / 2


def massive(
    flat: Float[Tensor, "n k"], median: Float64[Tensor, " n"], magnitude: float, ratio: float
) -> Bool[Tensor, "n k"]:
    """Say which values are massive, given the median magnitude of each row; none where that is NaN."""
    limit = (ratio * median).clamp(min=magnitude)
    return flat.abs().to(torch.float64) > limit[:, None]
