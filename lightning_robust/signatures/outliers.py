"""Outlier features: coordinates that are far out on many images (METHODS 2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.rows import (
    checked_features,
    finite_rows,
    float64_pieces,
    rescaled,
    squared_deviations,
)


@dataclass(frozen=True, eq=False)
class OutlierFeatureReport:
    """Which features are outliers, by which rule.

    Attributes:
        count: number of outlier features, NaN where undefined.
        indices: their positions among the d features, ascending.
        share: their share of ``‖h‖²``, summed over the images, in [0, 1]; NaN where undefined.
        per_feature_rate: share of the images on which each feature is far out, ``(d,)``.
        neuron_norm_kurtosis: see ``neuron_norm_kurtosis``.
        n: images seen. d: features.
        defined: False where no z-score can exceed the threshold, d ≤ threshold² + 1 (37 for 6).
        not_finite: images left out of every figure for a NaN or infinite feature.
    """

    count: float
    indices: tuple[int, ...]
    share: float
    per_feature_rate: Tensor
    neuron_norm_kurtosis: float
    n: int
    d: int
    defined: bool
    not_finite: int = 0


def neuron_norm_kurtosis(features: Float[Tensor, "n d"]) -> Float64[Tensor, ""]:
    """Kurtosis of the neurons' norms: ``mean_j(m_j²) / (mean_j m_j)²`` with ``m_j = E_x[h_j²]``.

    In [1, d]: 1 when all neurons are equally large, d when one carries everything; NaN when all are zero.
    (He et al. 2024, arXiv 2405.19279.)

    Args:
        features: ``(n, d)``; images with a NaN or infinite feature are left out, and the result is NaN if none is left.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if they are not a matrix.

    Example:
        >>> neuron_norm_kurtosis(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        tensor(2., dtype=torch.float64)
    """
    kept, _ = finite_rows(checked_features(features))
    if kept.dtype == torch.float64 and len(kept):  # squares of no other dtype leave the range of float64
        kept = rescaled(kept.flatten()).reshape(kept.shape)
    return _norm_kurtosis(_feature_sums(kept, 6.0)[1])


def outlier_features(
    features: Float[Tensor, "n d"], threshold: float = 6.0, min_share: float = 0.06
) -> OutlierFeatureReport:
    """Find the features whose within-image z-score exceeds the threshold on enough images.

    The z-score of feature i on an image is ``(h_i − mean(h)) / std(h)`` over the d features of that image (population
    moments); a feature is an outlier if ``|z| > threshold`` on at least ``min_share`` of the images. A z-score
    adaptation of Dettmers et al. 2022 (arXiv 2208.07339). Since ``|z| ≤ √(d − 1)``, it is undefined for
    d ≤ threshold² + 1 (37 by default). Constant rows have no outliers. Images with a NaN or infinite feature
    are left out and counted.

    Args:
        features: ``(n, d)``, not normalised, n ≥ 1.
        threshold: positive number of standard deviations.
        min_share: in (0, 1].

    Returns:
        The frozen report.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if they are not a matrix with rows, or the rule is out of range.

    Example:
        >>> h = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
        >>> h[:, 7] *= 300
        >>> outlier_features(h).indices
        (7,)
    """
    metric = OutlierFeatures(threshold, min_share)
    metric.update(features)
    if len(features) == 0:
        raise ValueError("features has no rows; outlier features need at least one image.")
    return outlier_report(metric.compute(), threshold, min_share)


def outlier_report(
    result: Mapping[str, Tensor], threshold: float = 6.0, min_share: float = 0.06
) -> OutlierFeatureReport:
    """Turn what ``OutlierFeatures.compute()`` returned into a frozen record.

    Args:
        result: the dict of tensors.
        threshold: the threshold the metric was made with.
        min_share: likewise.

    Raises:
        KeyError: if the dict comes from another metric.
    """
    rate = result["per_feature_rate"].reshape(-1)
    defined = len(rate) > threshold**2 + 1
    chosen = (rate >= min_share).nonzero().flatten().tolist() if defined else []
    return OutlierFeatureReport(
        count=float(result["count"]),
        indices=tuple(chosen),
        share=float(result["share"]),
        per_feature_rate=rate,
        neuron_norm_kurtosis=float(result["neuron_norm_kurtosis"]),
        n=int(result["n"]),
        d=len(rate),
        defined=defined,
        not_finite=int(result["not_finite"]),
    )


class OutlierFeatures(MergeableMetric):
    """Accumulate ``outlier_features`` and ``neuron_norm_kurtosis`` over images, in a state of constant size ``(2, d)``.

    ``compute()`` returns a dict of tensors:
        ``count``: number of outlier features, float64; NaN where d is too small for the rule.
        ``share``: their share of ``‖h‖²`` summed over the images, in [0, 1]; 0 if there are none, NaN as above and
            where all features are zero.
        ``per_feature_rate``: ``(d,)``, share of the images on which each feature's ``|z|`` exceeds the threshold.
        ``neuron_norm_kurtosis``: in [1, d], NaN where all features are zero. ``n``: images seen, int64.
        ``not_finite``: images among them that were left out for a NaN or infinite feature, int64.
    Figures are NaN where no image is left. Sums of squares hold features of magnitudes from 1e-150 to 1e150; beyond,
    which float64 alone can be, ``share`` and ``neuron_norm_kurtosis`` are NaN.

    Args:
        threshold: positive number of standard deviations.
        min_share: least share of the images, in (0, 1].
        kwargs: for ``torchmetrics.Metric``.

    Raises:
        ValueError: if the rule is out of range or the number of features changes between updates.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> metric = OutlierFeatures()
        >>> h = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
        >>> h[:, 7] *= 300
        >>> metric.update(h)
        >>> int(metric.compute()["count"])
        1
    """

    settings = ("threshold", "min_share")
    sums: Tensor
    n: Tensor
    not_finite: Tensor

    def __init__(self, threshold: float = 6.0, min_share: float = 0.06, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not threshold > 0:
            raise ValueError(f"threshold must be a positive number of standard deviations, not {threshold}.")
        if not 0 < min_share <= 1:
            raise ValueError(f"min_share must be in (0, 1], not {min_share}.")
        self.threshold = float(threshold)
        self.min_share = float(min_share)
        self.add_state("sums", torch.zeros(2, 0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("not_finite", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Float[Tensor, "n d"]) -> None:
        """Add the images of one batch, ``(n, d)``."""
        features = checked_features(features).to(self.device)
        seen, d = self.sums.shape[1], features.shape[1]
        if seen not in (0, d):
            raise ValueError(f"this metric has seen {seen} features per image, now it got {d}.")
        kept, mask = finite_rows(features)
        batch = _feature_sums(kept, self.threshold)
        self.sums = self.sums + batch if seen else batch
        self.n = self.n + len(features)
        self.not_finite = self.not_finite + (~mask).sum()

    def compute(self) -> dict[str, Tensor]:
        """Summarise all images seen; see the class."""
        if self.sums.shape[1] == 0:
            raise self._nothing_seen()
        hits, squares = self.sums
        kept = self.n - self.not_finite
        rate = hits / kept
        outliers = rate >= self.min_share
        undefined = len(rate) <= self.threshold**2 + 1 or int(kept) == 0
        nan = squares.new_tensor(float("nan"))
        return {
            "count": nan if undefined else outliers.sum().to(torch.float64),
            "share": nan if undefined else squares[outliers].sum() / squares.sum(),
            "per_feature_rate": rate,
            "neuron_norm_kurtosis": _norm_kurtosis(squares),
            "n": self.n,
            "not_finite": self.not_finite,
        }


def _norm_kurtosis(squares: Float64[Tensor, " d"]) -> Float64[Tensor, ""]:
    shares = squares / squares.amax()  # their squares are in range whatever the scale of the features
    return shares.square().mean() / shares.mean().square()


def _feature_sums(features: Float[Tensor, "n d"], threshold: float) -> Float64[Tensor, "2 d"]:
    """Per feature: on how many images it is far out, and the sum of its squares."""
    sums = torch.zeros(2, features.shape[1], dtype=torch.float64, device=features.device)
    for rows in float64_pieces(features):
        # float64 alone reaches further than its squares do; a z-score does not depend on the scale
        squares, variance = squared_deviations(rescaled(rows) if features.dtype == torch.float64 else rows)
        limit = torch.where(variance > 0, variance * threshold**2, torch.inf)
        far_out = squares.amax(dim=1) > limit  # no image, often
        sums[0] += (squares[far_out] > limit[far_out, None]).sum(dim=0)
        sums[1] += rows.square().sum(dim=0)
    return sums
