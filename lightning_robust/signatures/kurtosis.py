"""Activation kurtosis: how far the largest coordinates of a representation stand out (METHODS 2)."""

from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.rows import centred_rows, checked_features, finite_rows, float64_pieces


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
    parts = []
    for rows in float64_pieces(checked_features(features)):
        deviations, variance = centred_rows(rows)
        squares = deviations.square_()
        fourth = torch.linalg.vecdot(squares, squares) / rows.shape[1]
        parts.append(fourth / variance.square())  # 0/0 where a row is constant
    return torch.cat(parts)


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
    """Accumulate ``activation_kurtosis`` over images.

    The per-image values are kept (8 bytes an image) because quantiles need them.

    ``compute()`` returns a dict of float64 scalars (counts are int64):
        ``mean``: mean kurtosis over the images where it is defined; NaN where there is none.
        ``q05``, ``q50``, ``q95``: quantiles over the same images (linear interpolation).
        ``width_adjusted``: mean divided by ``gaussian_kurtosis(d)``; 1 for a Gaussian, comparable across widths.
        ``n``: images seen, those left out included. ``undefined``: images left out because their features are all the
            same, as with a single feature. ``not_finite``: images left out for a NaN or infinite feature.

    Raises:
        ValueError: if the number of features changes between updates.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> metric = ActivationKurtosis()
        >>> metric.update(torch.tensor([[1.0, -1.0, 1.0, -1.0], [2.0, 2.0, 2.0, 2.0]]))
        >>> {name: float(value) for name, value in metric.compute().items() if name in ("mean", "undefined")}
        {'mean': 1.0, 'undefined': 1.0}
    """

    values: list[Tensor]
    width: Tensor
    not_finite: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_rows_state("values", torch.zeros(0, dtype=torch.float64))
        self.add_state("width", torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")
        self.add_state("not_finite", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Float[Tensor, "n d"]) -> None:
        """Add the images of one batch, ``(n, d)``."""
        d = checked_features(features).shape[1]
        if int(self.width) not in (0, d):
            raise ValueError(f"this metric has seen {int(self.width)} features per image, now it got {d}.")
        kept, mask = finite_rows(features.detach().to(self.device))
        self.values.append(activation_kurtosis(kept))
        self.not_finite = self.not_finite + (~mask).sum()
        self.width = torch.full_like(self.width, d)

    def compute(self) -> dict[str, Tensor]:
        """Summarise all images seen; see the class."""
        values, d = self.rows("values"), int(self.width)
        if d == 0:
            raise self._nothing_seen()
        # sorted first, so that the mean does not depend on the order of batches and ranks
        defined = values[~values.isnan()].sort().values
        result = {"mean": defined.mean()}
        levels = {"q05": 0.05, "q50": 0.5, "q95": 0.95}
        result.update({name: sorted_quantile(defined, level) for name, level in levels.items()})
        result["width_adjusted"] = (
            width_adjusted(result["mean"], d) if d > 1 else torch.full_like(result["mean"], torch.nan)
        )
        result["n"] = self.not_finite + len(values)
        result["undefined"] = torch.tensor(len(values) - len(defined), device=values.device)
        result["not_finite"] = self.not_finite
        return result


def sorted_quantile(ascending: Float64[Tensor, " n"], level: float) -> Float64[Tensor, ""]:
    """Quantile of values already sorted, linearly interpolated; NaN of none (``torch.quantile`` stops at 16 million).

    Example:
        >>> sorted_quantile(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64), 0.75)
        tensor(3., dtype=torch.float64)
    """
    if len(ascending) == 0:
        return ascending.new_tensor(float("nan"))
    position = level * (len(ascending) - 1)
    low = int(position)
    high = min(low + 1, len(ascending) - 1)
    return torch.lerp(ascending[low], ascending[high], position - low)
