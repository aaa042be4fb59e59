"""Rows of features in float64, in pieces that fit the cache: what the per-image figures are computed from."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

PIECE_ELEMENTS = 2**16
"""Elements per piece, 512 KiB in float64: two of them fit the second-level cache; much faster than all at once."""

_RESOLUTION = 1e-15

_SQUARES = (1e-140, 1e140)
"""Norms between these are sums of squares that float64 holds, with digits to spare."""


def checked_features(features: object) -> Tensor:
    """Return features of shape ``(n, d)``, detached, or raise a clear error.

    Raises:
        TypeError: if they are not a tensor of a floating dtype.
        ValueError: if they are not a matrix with at least one column.
    """
    if not isinstance(features, Tensor):
        kind = type(features).__name__
        raise TypeError(f"features must be a torch tensor, not {kind}: torch.from_numpy(...) makes one.")
    if not features.is_floating_point():
        raise TypeError(f"features must be floating point, not {features.dtype}.")
    if features.ndim != 2 or features.shape[1] == 0:
        shape = tuple(features.shape)
        raise ValueError(f"features must have shape (n, d) with d >= 1, not {shape}; pool tokens or maps first.")
    return features.detach()


def finite_rows(features: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "m d"], Bool[Tensor, " n"]]:
    """Leave out the images that hold a NaN or an infinite feature.

    Costs one sum where all are finite, and then returns the features as they are, not a copy.

    Args:
        features: ``(n, d)``, any floating dtype.

    Returns:
        The rows kept, ``(m, d)``, and which those are, ``(n,)`` True where kept.

    Example:
        >>> kept, mask = finite_rows(torch.tensor([[1.0, 2.0], [float("nan"), 0.0], [3.0, float("inf")]]))
        >>> kept.tolist(), mask.tolist()
        ([[1.0, 2.0]], [True, False, False])
    """
    wide = torch.promote_types(features.dtype, torch.float32)
    # one value that is not finite makes the sum so; a sum may also overflow, so that is only a suspicion
    if bool(features.sum(dtype=wide).isfinite()):
        return features, torch.ones(len(features), dtype=torch.bool, device=features.device)
    mask = features.isfinite().all(dim=1)
    return (features, mask) if bool(mask.all()) else (features[mask], mask)


def float64_pieces(features: Float[Tensor, "n d"]) -> Iterator[Float64[Tensor, "_ d"]]:
    """Yield consecutive rows in float64, each contiguous, about half a MiB at a time."""
    for piece in features.split(max(1, PIECE_ELEMENTS // features.shape[1])):
        yield piece.to(torch.float64).contiguous()


def squared_deviations(rows: Float64[Tensor, "n d"]) -> tuple[Float64[Tensor, "n d"], Float64[Tensor, " n"]]:
    """Squared deviations of each row's features from their mean, and the population variance.

    The variance is exactly 0 where a row is constant up to rounding (scipy's rule: the standard deviation is at
    most 1e-15 of the mean).
    """
    first = rows[:, :1]
    # subtracting an element first makes constant rows exactly zero whatever the summation order
    deviations = rows - first
    mean = deviations.mean(dim=1, keepdim=True)
    deviations -= mean
    squares = deviations.square_()
    variance = squares.mean(dim=1)
    constant = variance <= (_RESOLUTION * (mean + first).squeeze(1)).square()
    return squares, variance.masked_fill_(constant, 0.0)


def unit_rows(rows: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """Divide each row by its norm, however small or large; a row of zeros points nowhere and stays zero."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    unit = torch.where(norms == 0, 0.0, rows / norms)
    beyond = ((norms < _SQUARES[0]) | (norms > _SQUARES[1])).flatten()
    if bool(beyond.any()):
        beyond &= rows.any(dim=1)
        scaled = rescaled(rows[beyond])
        unit[beyond] = scaled / torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return unit


def rescaled(rows: Float64[Tensor, "*rows d"]) -> Float64[Tensor, "*rows d"]:
    """Bring the largest magnitude along the last dimension to between 1/2 and 1, by a power of two: no digit changes.

    A row of zeros stays as it is.

    Example:
        >>> rescaled(torch.tensor([3e200, -4e200], dtype=torch.float64)).abs() < 1
        tensor([True, True])
    """
    exponent = torch.frexp(rows.abs().amax(dim=-1, keepdim=True)).exponent.to(torch.float64)
    # in two steps: one power of two may itself be out of range
    half = (exponent / 2).floor()
    return rows * torch.exp2(-half) * torch.exp2(half - exponent)
