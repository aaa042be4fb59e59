"""Activation kurtosis: how far the largest coordinates of a representation stand out (METHODS 2)."""

from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.mergeable import MergeableMetric, one_width
from lightning_robust.signatures.quantiles import (
    CAPACITY,
    histogram_quantile,
    keep,
    log_histogram,
    merge_keepers,
    sorted_quantile,
)
from lightning_robust.signatures.rows import (
    checked_features,
    finite_rows,
    float64_pieces,
    rescaled,
    squared_deviations,
)

_TINY = 1e-280

LEVELS = {"q05": 0.05, "q50": 0.5, "q95": 0.95}
"""Quantiles that ``ActivationKurtosis`` gives, by name."""


def activation_kurtosis(features: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    """Kurtosis of each image's activations over the d features, Pearson convention: a Gaussian gives 3.

    ``κ(h) = (1/d) Σ_i ((h_i − mean(h)) / std(h))⁴`` with population moments, two-pass and centred in float64; equals
    ``scipy.stats.kurtosis(h, axis=1, fisher=False, bias=True)``. Lies in ``[1, d − 2 + 1/(d − 1)]``; ``κ ≫ 3`` means
    outlier features (Elhage et al. 2023, privileged bases; Crabbé et al. 2023, arXiv 2310.13040). Feed the raw
    encoder output, not the normalised one (the figure is the same) and not the logits.

    Args:
        features: ``(n, d)``, any floating dtype.

    Returns:
        ``(n,)`` in float64; NaN where a row is constant up to rounding or not finite.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if they are not a matrix.

    Example:
        >>> activation_kurtosis(torch.tensor([[1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 1.0]]))
        tensor([1.0000, 2.3333], dtype=torch.float64)
    """
    features = checked_features(features)
    kurtosis = torch.cat([_kurtosis(rows) for rows in float64_pieces(features)])
    # once more, rescaled, where fourth powers leave the range of float64: features of 1e-90 have a kurtosis too
    again = ~kurtosis.isfinite()
    if bool(again.any()):
        kurtosis[again] = torch.cat([_rescaled_kurtosis(rows) for rows in float64_pieces(features[again])])
    return kurtosis


def _kurtosis(rows: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    squares, variance = squared_deviations(rows)
    fourth = squares.square_().mean(dim=1)
    # 0/0 where a row is constant, and where a fourth power would be rounded to a multiple of the least number
    kurtosis: Tensor = fourth / variance.square()
    return kurtosis.masked_fill_(fourth < _TINY, torch.nan)


def _rescaled_kurtosis(rows: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    return _kurtosis(rescaled(rows))


def gaussian_kurtosis(d: int) -> float:
    """Expected kurtosis of d independent Gaussian features: ``3 (d − 1) / (d + 1)``.

    Raises:
        ValueError: if d < 2, where no kurtosis is defined.

    Example:
        >>> round(gaussian_kurtosis(128), 3)
        2.953
    """
    if d < 2:
        raise ValueError(f"kurtosis needs at least 2 features, not {d}.")
    return 3.0 * (d - 1) / (d + 1)


def width_adjusted(kurtosis: Float64[Tensor, "*any"], d: int) -> Float64[Tensor, "*any"]:
    """Divide a kurtosis by what a Gaussian of the same width has, ``κ (d + 1) / (3 (d − 1))``: 1 for a Gaussian.

    Raises:
        ValueError: if d < 2.

    Example:
        >>> width_adjusted(torch.tensor(3.0, dtype=torch.float64), 3)
        tensor(2., dtype=torch.float64)
    """
    return kurtosis / gaussian_kurtosis(d)


class ActivationKurtosis(MergeableMetric):
    """Accumulate ``activation_kurtosis`` over images, in a state of constant size (768 KiB).

    ``compute()`` returns a dict of float64 scalars (counts are int64):
        ``mean``: mean kurtosis over the images where it is defined; NaN where there is none.
        ``q05``, ``q50``, ``q95``: quantiles over the same images (linear interpolation). Exact up to 65,536 of them;
            beyond, read from a histogram of all, off by at most ``ln(d) / 32768`` of the value (2.0e-4 for d = 768).
            Either way they depend on the values alone, not on batches, ranks or order.
        ``width_adjusted``: mean divided by ``gaussian_kurtosis(d)``; 1 for a Gaussian, comparable across widths.
        ``n``: images seen, those left out included.
        ``undefined``: images left out because all their features are the same, as with a single feature.
        ``not_finite``: images left out for a NaN or infinite feature.

    Raises:
        ValueError: if the number of features changes between updates.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> metric = ActivationKurtosis()
        >>> metric.update(torch.tensor([[1.0, -1.0, 1.0, -1.0], [2.0, 2.0, 2.0, 2.0]]))
        >>> {name: float(value) for name, value in metric.compute().items() if name in ("mean", "undefined")}
        {'mean': 1.0, 'undefined': 1.0}
    """

    total: Tensor
    kept: Tensor
    histogram: Tensor
    width: Tensor
    n: Tensor
    undefined: Tensor
    not_finite: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # first, so that nothing is merged before it is compared
        self.add_state("width", torch.zeros((), dtype=torch.int64), dist_reduce_fx=one_width)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("kept", torch.zeros(1, 0, dtype=torch.float64), dist_reduce_fx=merge_keepers)
        self.add_state("histogram", torch.zeros(1, 0, dtype=torch.int64), dist_reduce_fx="sum")
        for count in ("n", "undefined", "not_finite"):
            self.add_state(count, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Float[Tensor, "n d"]) -> None:
        """Add the images of one batch, ``(n, d)``."""
        features = checked_features(features).to(self.device)
        seen, d = int(self.width), features.shape[1]
        if seen not in (0, d):
            raise ValueError(f"this metric has seen {seen} features per image, now it got {d}.")
        finite, _ = finite_rows(features)
        values = activation_kurtosis(finite)
        defined = values[~values.isnan()]
        counts = log_histogram(defined, d)
        before = self._defined()
        if before <= CAPACITY:
            self.kept = keep(self.kept, defined, before)
        self.histogram = self.histogram + counts if seen else counts
        self.total = self.total + defined.sum()
        self.width = torch.full_like(self.width, d)
        self.n = self.n + len(features)
        self.undefined = self.undefined + (len(finite) - len(defined))
        self.not_finite = self.not_finite + (len(features) - len(finite))

    def compute(self) -> dict[str, Tensor]:
        """Summarise all images seen; quantiles are exact up to 65,536 images, see the class."""
        d, defined = int(self.width), self._defined()
        if d == 0:
            raise self._nothing_seen()
        mean = self.total / defined
        return {
            "mean": mean,
            **self._quantiles(d, defined),
            "width_adjusted": width_adjusted(mean, d) if d > 1 else mean,
            "n": self.n,
            "undefined": self.undefined,
            "not_finite": self.not_finite,
        }

    def _quantiles(self, d: int, defined: int) -> dict[str, Tensor]:
        if defined > CAPACITY:
            return {name: histogram_quantile(self.histogram, d, level) for name, level in LEVELS.items()}
        values = self.kept[self.kept != 0].sort().values
        return {name: sorted_quantile(values, level) for name, level in LEVELS.items()}

    def _defined(self) -> int:
        return int(self.n - self.undefined - self.not_finite)
