"""Quantiles of many positive values in a state of constant size: exact for few, from a histogram for many.

A *keeper* is a row of ``CAPACITY`` places, zero where there is no value; a *histogram* counts values on a log scale.
Both merge by laws that do not look at batches, ranks or order: which of the two answers is decided by the total alone.
"""

import math

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

CAPACITY = 65_536
"""Values kept one by one, 512 KiB; up to so many quantiles are exact."""

BINS = 32_768
"""Bins of the histogram, 256 KiB: a bin is ``ln(d) / 32768`` wide relative to its value, 2.0e-4 for d = 768."""


def sorted_quantile(ascending: Float64[Tensor, "*rows n"], level: float) -> Float64[Tensor, "*rows"]:
    """Quantile of values already sorted, linearly interpolated; NaN of none (``torch.quantile`` stops at 16 million).

    Example:
        >>> sorted_quantile(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64), 0.75)
        tensor(3., dtype=torch.float64)
    """
    n = ascending.shape[-1]
    if n == 0:
        return ascending.new_full(ascending.shape[:-1], float("nan"))
    low, high, share = _position(n, level)
    return torch.lerp(ascending[..., low], ascending[..., high], share)


def median(values: Float64[Tensor, "*rows n"]) -> Float64[Tensor, "*rows"]:
    """Median along the last dimension, the mean of the middle two for an even count; NaN of none, and where one is NaN.

    Example:
        >>> median(torch.tensor([[3.0, 1.0, 2.0, 10.0]], dtype=torch.float64))
        tensor([2.5000], dtype=torch.float64)
    """
    return sorted_quantile(values.sort(dim=-1).values, 0.5).masked_fill(values.isnan().any(dim=-1), torch.nan)


def keep(keeper: Float64[Tensor, "1 _"], values: Float64[Tensor, " n"], before: int) -> Float64[Tensor, "1 _"]:
    """Put values into a keeper that holds ``before`` of them; past ``CAPACITY`` the keeper is emptied.

    Args:
        keeper: of width 0 or ``CAPACITY``; not changed.
        values: positive.
        before: how many values there were before, kept or not.

    Returns:
        The new keeper, ``(1, CAPACITY)``.
    """
    empty = values.new_zeros(1, CAPACITY)
    if before + len(values) <= CAPACITY:
        empty[0, :before] = keeper[0, :before]
        empty[0, before : before + len(values)] = values
    return empty


def merge_keepers(parts: Float64[Tensor, "k 1 _"]) -> Float64[Tensor, "1 _"]:
    """Fold k keepers into one: the reduction over ranks and instances (a ``dist_reduce_fx``)."""
    if parts.shape[-1] == 0:
        return parts[0]
    values = parts[parts != 0]
    return keep(parts[0], values, 0)


def log_histogram(values: Float64[Tensor, " n"], d: int) -> Int64[Tensor, "1 _"]:
    """Count values on a log scale over ``[1, d]``, the range of a kurtosis; what lies outside counts as the border.

    Returns:
        Counts, ``(1, BINS)``.
    """
    scale = BINS / math.log(d) if d > 1 else 0.0
    index = (values.log() * scale).to(torch.int64).clamp_(0, BINS - 1)
    return torch.bincount(index, minlength=BINS)[None]


def histogram_quantile(counts: Int64[Tensor, "1 _"], d: int, level: float) -> Float64[Tensor, ""]:
    """Quantile of counted values: each bin's values are taken to lie evenly in it, on the log scale.

    Off by at most the width of one bin, ``ln(d) / BINS`` of the value.

    Args:
        counts: what ``log_histogram`` gave, summed over batches.
        d: the same as there.
        level: in [0, 1].

    Returns:
        The quantile; NaN of no values.

    Example:
        >>> values = torch.linspace(2, 6, 1001, dtype=torch.float64)
        >>> round(float(histogram_quantile(log_histogram(values, 768), 768, 0.5)), 2)
        4.0
    """
    upto = counts[0].cumsum(0)
    n = int(upto[-1])
    if n == 0:
        return torch.full((), float("nan"), dtype=torch.float64, device=counts.device)
    low, high, share = _position(n, level)
    ranks = torch.tensor([low, high], device=counts.device)
    index = torch.searchsorted(upto, ranks, right=True)
    inside = ranks - (upto[index] - counts[0, index])
    place = index + (inside + 0.5) / counts[0, index]
    values = (place.to(torch.float64) * (math.log(d) / BINS)).exp()
    return torch.lerp(values[0], values[1], share)


def _position(n: int, level: float) -> tuple[int, int, float]:
    position = level * (n - 1)
    low = int(position)
    return low, math.ceil(position), position - low
