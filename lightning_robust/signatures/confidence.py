"""Confidence of a classifier: how sure it is of its answers on some images, and how right (METHODS 7)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn.functional import linear

from lightning_robust.signatures.bases import checked_head
from lightning_robust.signatures.mergeable import MergeableMetric, one_width
from lightning_robust.signatures.rows import checked_features, finite_rows, float64_pieces, unit_rows

CALIBRATION_BINS: Final = 15
"""Bins of equal width of the expected calibration error: bin m of M holds confidences in ``((m − 1)/M, m/M]``."""

UNKNOWN: Final = -1
"""Label of an image whose class is not known."""


@dataclass(frozen=True, eq=False)
class ConfidenceReport:
    """How sure a classifier is on n images.

    Attributes:
        mean: mean largest softmax probability, in [1/C, 1].
        entropy: mean entropy of the probabilities in nats, divided by ``log C``, in [0, 1]; NaN for one class.
        margin: mean largest minus second largest probability, in [0, 1]; NaN for one class.
        accuracy: share of the labelled images whose most probable class is theirs; NaN where none is labelled, as the
            two below.
        overconfidence: mean confidence of the labelled images minus their accuracy, in [−1, 1].
        ece: expected calibration error (Guo et al. 2017), in [0, 1].
        bin_images: labelled images in each of the ``CALIBRATION_BINS`` bins.
        bin_confidence: their mean confidence; NaN where there is none.
        bin_accuracy: their accuracy; likewise.
        n: images seen. labelled: images among those judged whose class is known.
        not_finite: images left out of every figure for a NaN or infinite value.
    """

    mean: float
    entropy: float
    margin: float
    accuracy: float
    overconfidence: float
    ece: float
    bin_images: Int64[Tensor, " bins"]
    bin_confidence: Float64[Tensor, " bins"]
    bin_accuracy: Float64[Tensor, " bins"]
    n: int
    labelled: int
    not_finite: int


def prediction_confidence(logits: Float[Tensor, "n C"], labels: Tensor | None = None) -> ConfidenceReport:
    """Confidence of a classifier from its logits, whatever temperature is in them.

    The expected calibration error is ``Σ_m (n_m / n) |accuracy_m − confidence_m|`` over 15 bins of equal width (Guo et
    al. 2017, arXiv 1706.04599). Bins of equal width, not of equal mass, since their counts merge exactly over batches.

    Args:
        logits: ``(n, C)`` with n ≥ 1, as the model gives them: the scale decides how sure it is.
        labels: true classes, ``(n,)``, −1 where one is not known; None where none is.

    Returns:
        The frozen report.

    Raises:
        TypeError: if logits are not floating-point tensors, or labels not whole numbers.
        ValueError: if there is no image, labels are not ``(n,)``, or one is no class.

    Example:
        >>> logits = torch.tensor([[0.6, 0.4], [0.1, 0.9]]).log()
        >>> report = prediction_confidence(logits, torch.tensor([0, 0]))
        >>> round(report.mean, 6), report.accuracy, round(report.overconfidence, 6)
        (0.75, 0.5, 0.25)
    """
    metric = PredictionConfidence()
    metric.update(logits, labels)
    if len(logits) == 0:
        raise ValueError("logits have no rows; confidence needs at least one image.")
    found = metric.compute()
    return ConfidenceReport(
        mean=float(found["mean"]),
        entropy=float(found["entropy"]),
        margin=float(found["margin"]),
        accuracy=float(found["accuracy"]),
        overconfidence=float(found["overconfidence"]),
        ece=float(found["ece"]),
        bin_images=found["bin_images"],
        bin_confidence=found["bin_confidence"],
        bin_accuracy=found["bin_accuracy"],
        n=int(found["n"]),
        labelled=int(found["labelled"]),
        not_finite=int(found["not_finite"]),
    )


class PredictionConfidence(MergeableMetric):
    """Accumulate ``prediction_confidence`` over images, in a state of a few numbers.

    ``compute()`` returns a dict of tensors, named and defined as in ``ConfidenceReport``, in float64 and counts in
    int64. Figures are NaN where no image is left, those of labels where no image has one. Of equal largest logits the
    answer is the one that ``Tensor.max`` gives, as in this package's accuracies.

    Args:
        head: None for logits; or the weight of a linear head, ``(C, d)``, whose logits of the features are judged.
        bias: its bias, ``(C,)``.
        unit_norm: whether the head reads features of unit length.
        kwargs: for ``torchmetrics.Metric``.

    Raises:
        TypeError: if head, features or logits are not floating-point tensors, or labels not whole numbers.
        ValueError: if the head is not a finite matrix, features have another width, the number of classes changes, or
            labels are not ``(n,)`` or no classes; if a bias or a norm is given without a head.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> metric = PredictionConfidence()
        >>> metric.update(torch.tensor([[0.6, 0.4], [0.1, 0.9]]).log(), torch.tensor([0, 1]))
        >>> {name: round(float(metric.compute()[name]), 6) for name in ("margin", "accuracy", "ece")}
        {'margin': 0.5, 'accuracy': 1.0, 'ece': 0.25}
    """

    uses_labels: ClassVar[bool] = True
    settings = ("head", "bias", "unit_norm")
    width: Tensor
    sums: Tensor
    bins: Tensor
    counts: Tensor
    n: Tensor
    not_finite: Tensor

    def __init__(
        self,
        head: Float[Tensor, "C d"] | None = None,
        bias: Float[Tensor, " C"] | None = None,
        unit_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if head is None and (bias is not None or unit_norm):
            raise ValueError("bias and unit_norm belong to a head; without one the logits are judged as they are.")
        # plain attributes: a buffer would follow metric.half()
        self.head = None if head is None else checked_head(head).clone()
        self.bias = None if bias is None or self.head is None else bias.detach().clone().to(self.head)
        self.unit_norm = unit_norm
        # first, so that nothing is merged before it is compared
        self.add_state("width", torch.zeros((), dtype=torch.int64), dist_reduce_fx=one_width)
        # of probability, entropy and margin; in each bin of probability
        self.add_state("sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("bins", torch.zeros(CALIBRATION_BINS, dtype=torch.float64), dist_reduce_fx="sum")
        # images and right answers in each bin
        self.add_state("counts", torch.zeros(2, CALIBRATION_BINS, dtype=torch.int64), dist_reduce_fx="sum")
        for count in ("n", "not_finite"):
            self.add_state(count, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Float[Tensor, "n d"], labels: Tensor | None = None) -> None:
        """Add the images of one batch: logits ``(n, C)``, or what the head reads, ``(n, d)``, with their classes."""
        features = checked_features(features).to(self.device)
        classes = self._classes(features.shape[1])
        truth = _checked_labels(labels, len(features), classes).to(self.device)
        kept, mask = finite_rows(features)
        done, truth = 0, truth[mask]
        for rows in float64_pieces(kept):
            self._add(self._logits(rows), truth[done : done + len(rows)])
            done += len(rows)
        self.width = torch.full_like(self.width, classes)
        self.n = self.n + len(features)
        self.not_finite = self.not_finite + (~mask).sum()

    def compute(self) -> dict[str, Tensor]:
        """Summarise all images seen; see the class."""
        classes = int(self.width)
        if classes == 0:
            raise self._nothing_seen()
        mean, entropy, margin = self.sums / (self.n - self.not_finite)
        nan = torch.full_like(mean, torch.nan)
        images, right = self.counts
        labelled = images.sum()
        accuracy = right.sum().to(torch.float64) / labelled
        return {
            "mean": mean,
            "entropy": entropy / math.log(classes) if classes > 1 else nan,
            "margin": margin if classes > 1 else nan,
            "accuracy": accuracy,
            "overconfidence": self.bins.sum() / labelled - accuracy,
            "ece": (right - self.bins).abs().sum() / labelled,
            "bin_images": images,
            "bin_confidence": self.bins / images,
            "bin_accuracy": right.to(torch.float64) / images,
            "n": self.n,
            "labelled": labelled,
            "not_finite": self.not_finite,
        }

    def _classes(self, d: int) -> int:
        """Number of classes; checks the width of what was given."""
        seen, W = int(self.width), self.head
        if W is not None:
            if d != W.shape[1]:
                raise ValueError(f"the head reads {W.shape[1]} features, the layer gave {d}.")
            return len(W)
        if seen not in (0, d):
            raise ValueError(f"this metric has seen logits (its features) of {seen} classes, now it got {d}.")
        return d

    def _logits(self, rows: Float64[Tensor, "b d"]) -> Float64[Tensor, "b C"]:
        if self.head is None:
            return rows
        self.head = self.head.to(rows.device)
        self.bias = None if self.bias is None else self.bias.to(rows.device)
        return linear(unit_rows(rows) if self.unit_norm else rows, self.head, self.bias)

    def _add(self, logits: Float64[Tensor, "b C"], truth: Int64[Tensor, " b"]) -> None:
        p = logits.softmax(dim=1)
        first, *second = p.topk(min(2, p.shape[1]), dim=1).values.unbind(dim=1)
        margin = first - second[0] if second else first
        self.sums = self.sums + torch.stack([first.sum(), torch.special.entr(p).sum(), margin.sum()])
        places = (first * CALIBRATION_BINS).ceil().clamp_(1, CALIBRATION_BINS) - 1
        known = truth != UNKNOWN
        # no bincount: on a GPU its sums depend on the order in which threads finish
        member = known[:, None] & (places[:, None] == torch.arange(CALIBRATION_BINS, device=places.device))
        right = member & (logits.max(dim=1).indices == truth)[:, None]
        self.bins = self.bins + first @ member.to(torch.float64)
        self.counts = self.counts + torch.stack([member.sum(dim=0), right.sum(dim=0)])


def _checked_labels(labels: object, n: int, classes: int) -> Int64[Tensor, " n"]:
    """Labels of n images, -1 for those that are not known."""
    if labels is None:
        return torch.full((n,), UNKNOWN)
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        kind = str(labels.dtype) if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels must be a tensor of whole numbers, not {kind}.")
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), one for each image, not {tuple(labels.shape)}.")
    wrong = labels[(labels < UNKNOWN) | (labels >= classes)]
    if len(wrong):
        raise ValueError(f"labels must be classes from 0 to {classes - 1}, or -1 where unknown, not {int(wrong[0])}.")
    return labels.detach().to(torch.int64)
