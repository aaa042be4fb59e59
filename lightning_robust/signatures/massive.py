"""Massive activations: single values thousands of times larger than the rest (METHODS 2)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lightning_robust.signatures.quantiles import sorted_quantile


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
    hidden: Float[Tensor, "n *state"], magnitude: float = 100.0, ratio: float = 1000.0
) -> MassiveActivationReport:
    """Find activations with ``|a| > magnitude`` and ``|a| > ratio ×`` the median magnitude of their hidden state.

    (Sun et al. 2024, arXiv 2402.17762.) One hidden state is everything that one image has at one layer: ``(d,)``, or
    ``(t, d)`` for t tokens, unpooled.

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
    if hidden.ndim < 2 or hidden.numel() == 0:
        raise ValueError(f"hidden must have shape (n, d) or (n, t, d) and hold values, not {tuple(hidden.shape)}.")
    size = hidden.detach().to(torch.float64).abs()
    flat = size.flatten(1)
    median = torch.stack([sorted_quantile(row.sort().values, 0.5) for row in flat])
    limit = (ratio * median).clamp(min=magnitude)
    mask = flat > limit[:, None]
    return MassiveActivationReport(mask.reshape(hidden.shape), mask.sum(dim=1), flat.amax(dim=1), median)
