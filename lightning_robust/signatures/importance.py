"""Importance of directions: how much each right singular vector of the head is used by the images (METHODS 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.bases import no_directions, thin_svd
from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.quantiles import median
from lightning_robust.signatures.rows import checked_features, finite_rows, float64_pieces, unit_rows

PRIVILEGED_FACTOR = 10.0
PRIVILEGED_RULE = "importance > 10 x the median over the r = rank(W) directions"


@dataclass(frozen=True, eq=False)
class DirectionImportanceReport:
    """Importance of the r directions of a head on n images.

    Attributes:
        importance: ``σ_i · mean_x |cos(v_i, h(x))|``, ``(r,)``, in the order of the singular values.
        normalised: importance divided by ``Σσ``, to compare models (the logit scale sits in σ), ``(r,)``, in [0, 1].
        singular_values: descending, ``(r,)``.
        directions: right singular vectors as columns, ``(d, r)``.
        max_over_median: largest importance over the median one.
        privileged: indices of the privileged directions, by the rule.
        rule: the rule in words.
        centred: whether the head was centred first.
        r: numerical rank of the head. n: images seen.
        not_finite: images left out of every figure for a NaN or infinite feature.
    """

    importance: Float64[Tensor, " r"]
    normalised: Float64[Tensor, " r"]
    singular_values: Float64[Tensor, " r"]
    directions: Float64[Tensor, "d r"]
    max_over_median: float
    privileged: tuple[int, ...]
    rule: str
    centred: bool
    r: int
    n: int
    not_finite: int = 0


def centre_head(head: Float[Tensor, "C d"]) -> Float[Tensor, "C d"]:
    """Subtract from every row of a head the mean row: ``W − 1·mean(W)ᵀ``.

    Softmax and argmax ignore a per-image constant, so the predictions stay the same, and what every class shares
    (the cone of the text embeddings) no longer counts as important. That holds up to rounding, which in half precision
    is coarse enough to change predictions: half-precision heads come back in float32. The figures here centre in
    float64 whatever the dtype.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.

    Returns:
        ``(C, d)`` in the head's dtype, but at least float32.

    Example:
        >>> centre_head(torch.tensor([[3.0, 1.0], [1.0, 1.0]]))
        tensor([[ 1.,  0.],
                [-1.,  0.]])
    """
    W = head.to(torch.float64)
    return (W - W.mean(dim=0)).to(torch.promote_types(head.dtype, torch.float32))


def direction_importance(
    head: Float[Tensor, "C d"], features: Float[Tensor, "n d"], *, centred: bool = False
) -> DirectionImportanceReport:
    """Importance of each right singular vector of the head: ``σ_i · mean_x |cos(v_i, h(x))|``.

    (Crabbé et al. 2023, arXiv 2310.13040.) The scale of h does not matter. An image with ``h = 0`` points nowhere: its
    cosines count as 0; one with a NaN or infinite feature is left out and counted. Privileged directions are
    those above 10 × the median over the r directions; with few classes the rule may never fire, so look at the curve
    too, and at the centred head beside the raw one.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        features: what the head reads, ``(n, d)`` with n ≥ 1, normalised or not.
        centred: centre the head first, see ``centre_head``.

    Returns:
        The frozen report.

    Raises:
        TypeError: if head or features are not floating-point tensors.
        ValueError: if the head is not finite or has no directions (all zero, or all classes alike and centred), or the
            widths differ, or there is no image.

    Example:
        >>> report = direction_importance(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[4.0, 3.0]]))
        >>> report.importance
        tensor([2.4000, 0.6000], dtype=torch.float64)
    """
    metric = DirectionImportance(head, centred=centred)
    if len(metric.sigma) == 0:
        raise no_directions(head, centred=centred)
    metric.update(features)
    if len(features) == 0:
        raise ValueError("features has no rows; importance needs at least one image.")
    return importance_report(metric.compute(), metric.directions, centred=centred)


def importance_report(
    result: Mapping[str, Tensor], directions: Float64[Tensor, "d r"], *, centred: bool
) -> DirectionImportanceReport:
    """Turn what ``DirectionImportance.compute()`` returned into a frozen record.

    Args:
        result: the dict of tensors.
        directions: the metric's ``directions``.
        centred: whether the metric's head was centred.

    Raises:
        KeyError: if the dict comes from another metric.
    """
    return DirectionImportanceReport(
        importance=result["importance"].reshape(-1),
        normalised=result["normalised"].reshape(-1),
        singular_values=result["singular_values"].reshape(-1),
        directions=directions,
        max_over_median=float(result["max_over_median"]),
        privileged=tuple(result["privileged"].reshape(-1).nonzero().flatten().tolist()),
        rule=PRIVILEGED_RULE,
        centred=centred,
        r=directions.shape[1],
        n=int(result["n"]),
        not_finite=int(result["not_finite"]),
    )


class DirectionImportance(MergeableMetric):
    """Accumulate ``direction_importance`` over images, in a state of constant size ``(r,)``.

    ``compute()`` returns a dict of tensors:
        ``importance``, ``normalised``, ``singular_values``: ``(r,)`` in float64 (torchmetrics squeezes r = 1).
        ``max_over_median``: largest importance over the median one, at least 1; infinite if the median is 0, NaN if all
            are.
        ``privileged``: ``(r,)`` bool, by the rule ``PRIVILEGED_RULE``. ``n``: images seen, int64.
        ``not_finite``: images among them that were left out for a NaN or infinite feature, int64.
    Figures that depend on images are NaN where no image is left. A head without directions, which a head in
    training may be, has an answer too: r = 0, nothing privileged, ``max_over_median`` NaN. That is a head of zeros and,
    centred, a head of one class or of classes that are all alike.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``; copied, so later training does not change it.
        centred: centre the head first, in float64.
        kwargs: for ``torchmetrics.Metric``.

    Attributes:
        head: the head as it was, not centred.
        directions: right singular vectors as columns, ``(d, r)`` in float64.
        sigma: singular values, ``(r,)``.

    Raises:
        TypeError: if the head or the features are not tensors.
        ValueError: if the head is not a finite matrix, or the features have another width.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> metric = DirectionImportance(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        >>> metric.update(torch.tensor([[4.0, 3.0]]))
        >>> metric.compute()["normalised"]
        tensor([0.6000, 0.1500], dtype=torch.float64)
    """

    settings = ("head", "centred")
    cosines: Tensor
    n: Tensor
    not_finite: Tensor

    def __init__(self, head: Float[Tensor, "C d"], centred: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centred = centred
        # plain attributes: a buffer would follow metric.half()
        self.sigma, self.directions = thin_svd(head, centred=centred)
        self.head = head.detach().clone()
        # one row, no columns before the first update; one column of zeros after it where there are no directions
        self.add_state("cosines", torch.zeros(1, 0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("not_finite", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Float[Tensor, "n d"]) -> None:
        """Add the images of one batch, ``(n, d)``."""
        features = checked_features(features).to(self.device)
        self.sigma, self.directions = self.sigma.to(self.device), self.directions.to(self.device)
        if features.shape[1] != len(self.directions):
            raise ValueError(f"the head reads {len(self.directions)} features, the layer gave {features.shape[1]}.")
        kept, mask = finite_rows(features)
        cosines = torch.zeros(1, max(len(self.sigma), 1), dtype=torch.float64, device=self.device)
        for rows in float64_pieces(kept):
            cosines[:, : len(self.sigma)] += (unit_rows(rows) @ self.directions).abs_().sum(dim=0)
        self.cosines = self.cosines + cosines if self.cosines.shape[1] else cosines
        self.n = self.n + len(features)
        self.not_finite = self.not_finite + (~mask).sum()

    def compute(self) -> dict[str, Tensor]:
        """Summarise all images seen; see the class."""
        if self.cosines.shape[1] == 0:
            raise self._nothing_seen()
        sigma = self.sigma.to(self.cosines.device)
        importance = sigma * self.cosines[0, : len(sigma)] / (self.n - self.not_finite)
        middle = median(importance)
        return {
            "importance": importance,
            "normalised": importance / sigma.sum(),
            "max_over_median": (importance.max() if len(sigma) else middle) / middle,
            "singular_values": sigma,
            "n": self.n,
            "not_finite": self.not_finite,
            "privileged": importance > PRIVILEGED_FACTOR * middle,
        }
