"""Which features and directions are worth ablating, what is known of each, and random ones beside them."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.bases import checked_head, thin_svd
from lightning_robust.signatures.outliers import OutlierFeatureReport, outlier_features
from lightning_robust.signatures.rows import (
    checked_features,
    finite_rows,
    float64_pieces,
    rescaled,
    squared_deviations,
    unit_rows,
)

__all__ = ["FeatureRanking", "UnitFigures", "feature_ranking", "mean_z_scores", "random_members", "unit_figures"]


@dataclass(frozen=True, eq=False)
class FeatureRanking:
    """The features of a layer in order of how far out they are.

    Attributes:
        order: every feature, the first in rank first.
        mean_z: mean of each feature's ``|z|``, ``(d,)``.
        report: the outlier features by the rule.
    """

    order: tuple[int, ...]
    mean_z: Float64[Tensor, " d"]
    report: OutlierFeatureReport


@dataclass(frozen=True, eq=False)
class UnitFigures:
    """What is known of m units.

    Attributes:
        share: of ``‖h‖²``, summed over the images, in [0, 1], ``(m,)``.
        importance: ``‖W u‖ · mean |cos(u, h)| / Σσ``, in [0, 1], ``(m,)``; NaN without a head.
        common: share of ``‖W u‖²`` that is the same for every class and so changes no prediction, in [0, 1], ``(m,)``;
            NaN without a head, and where the head does not read the unit at all.
    """

    share: Float64[Tensor, " m"]
    importance: Float64[Tensor, " m"]
    common: Float64[Tensor, " m"]


def feature_ranking(features: Float[Tensor, "n d"]) -> FeatureRanking:
    """Rank features: outlier features by the rule of METHODS 2, else those with the largest mean ``|z|``.

    Where the rule finds outliers, features are in order of the share of images on which ``|z| > 6``, among equals of
    the mean ``|z|``, so that the rule's come first. Where it finds none, or d is too small for it, in order of the mean
    ``|z|`` alone. Equal features are in order of their position.

    Args:
        features: ``(n, d)``, not normalised, n ≥ 1.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if they are not a matrix with rows.

    Example:
        >>> h = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
        >>> h[:, 7] *= 300
        >>> found = feature_ranking(h)
        >>> found.order[0], found.report.indices
        (7, (7,))
    """
    report, mean_z = outlier_features(features), mean_z_scores(features)
    rate = report.per_feature_rate.tolist() if report.indices else [0.0] * report.d
    far = mean_z.tolist()
    order = sorted(range(report.d), key=lambda feature: (-rate[feature], -far[feature], feature))
    return FeatureRanking(tuple(order), mean_z, report)


def mean_z_scores(features: Float[Tensor, "n d"]) -> Float64[Tensor, " d"]:
    """Mean over the images of each feature's magnitude of the within-image z-score (METHODS 2), ``(d,)``.

    A constant image has no z-scores; they count as 0. Images with a NaN or infinite feature are left out.

    Args:
        features: ``(n, d)``, not normalised.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if they are not a matrix.

    Example:
        >>> mean_z_scores(torch.tensor([[0.0, 0.0, 3.0], [5.0, 5.0, 5.0]]))
        tensor([0.3536, 0.3536, 0.7071], dtype=torch.float64)
    """
    kept, _ = finite_rows(checked_features(features))
    total = torch.zeros(kept.shape[1], dtype=torch.float64, device=kept.device)
    for rows in float64_pieces(kept):
        squares, variance = squared_deviations(rescaled(rows) if features.dtype == torch.float64 else rows)
        z = (squares / variance[:, None]).sqrt_()
        total += torch.where(variance[:, None] > 0, z, 0.0).sum(dim=0)
    return total / len(kept)


def unit_figures(
    features: Float[Tensor, "n d"],
    units: Float64[Tensor, "d m"],
    head: Float[Tensor, "C d"] | None = None,
    *,
    centred: bool = False,
) -> UnitFigures:
    """How much of h units are, and how much the head makes of them.

    ``importance`` of a right singular vector is its normalised importance (METHODS 3), for ``‖W v_i‖ = σ_i``; of the
    axis of a feature the same formula. ``common`` is what all classes share of what a unit adds, ``C · mean(W u)² /
    ‖W u‖²`` with the raw head in either case.

    Args:
        features: h as the encoder gives it, ``(n, d)``; images with a NaN or infinite feature are left out.
        units: columns of unit length, ``(d, m)``.
        head: weight ``W``, ``(C, d)``; None where the features are not what a head reads.
        centred: centre the head first, for ``importance``.

    Raises:
        TypeError: if head or features are not floating-point tensors.

    Example:
        >>> head = torch.tensor([[3.0, 1.0], [3.0, -1.0]])
        >>> unit_figures(torch.tensor([[4.0, 3.0]]), torch.eye(2, dtype=torch.float64), head).common
        tensor([1., 0.], dtype=torch.float64)
    """
    kept, _ = finite_rows(checked_features(features))
    U = units.to(kept.device, torch.float64)
    squares, cosines = U.new_zeros(U.shape[1]), U.new_zeros(U.shape[1])
    total = U.new_zeros(())
    for rows in float64_pieces(kept):
        squares += (rows @ U).square().sum(dim=0)
        total += rows.square().sum()
        cosines += (unit_rows(rows) @ U).abs().sum(dim=0)
    nan = torch.full_like(squares, torch.nan)
    if head is None:
        return UnitFigures(squares / total, nan, nan.clone())
    W = checked_head(head).to(U.device)
    added = W @ U
    read = (W - W.mean(dim=0)) @ U if centred else added
    sigma = thin_svd(head, centred=centred)[0].sum().to(U.device)
    importance = torch.linalg.vector_norm(read, dim=0) * cosines / len(kept) / sigma
    common = len(W) * added.mean(dim=0).square() / added.square().sum(dim=0)
    return UnitFigures(squares / total, importance, common.clamp(max=1.0))


def random_members(total: int, excluded: Collection[int], count: int, seed: int) -> tuple[int, ...]:
    """Draw units at random, without those that are ablated themselves.

    Args:
        total: how many there are.
        excluded: positions that are not drawn.
        count: how many are drawn; all that are left where there are fewer.
        seed: of the draw.

    Returns:
        Different positions in 0 … total − 1, in the order of the draw.

    Example:
        >>> sorted(random_members(5, {1, 3}, 3, seed=0))
        [0, 2, 4]
    """
    drawn = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(unit for unit in drawn if unit not in excluded)[:count]
