"""Average precision of directions for concepts, exact and fast (METHODS 5)."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Real
from torch import Tensor

from lightning_robust.signatures.concept_checks import check_tensor
from lightning_robust.signatures.concept_ranking import PositiveRanking
from lightning_robust.signatures.sparse_labels import Labels, SparseLabels, as_sparse

Unknown = Literal["ignore", "negative"]
"""What becomes of images that were not annotated for a concept."""

_COLUMNS = 64
"""Directions that are copied out of the scores at once."""


def concept_average_precision(
    scores: Real[Tensor, "n D"], labels: Labels | SparseLabels, unknown: Unknown = "ignore"
) -> Float64[Tensor, "D C"]:
    """Average precision of every direction's score for every concept.

    The exact step-wise area under the precision-recall curve with ties handled as
    ``sklearn.metrics.average_precision_score`` does: the mean over a concept's positive images i of (positives with a
    score ≥ s_i) / (known images with a score ≥ s_i).

    Args:
        scores: ``(n, D)``, ``⟨v, h(x)⟩`` for D directions; ``h`` of unit norm, as the head reads it. Half precision
            is ranked as float32, integers as float64.
        labels: ``(n, C)`` in {1, 0, −1 unknown}, or ``SparseLabels``.
        unknown: ``"ignore"`` leaves an image out for the concepts it is unknown for, ``"negative"`` counts it as 0.

    Returns:
        ``(D, C)`` in float64, in (0, 1]; NaN where a concept has no (known) positive, as with no image at all.

    Raises:
        TypeError: if scores or labels are no tensor.
        ValueError: if scores or labels are no matrix, scores hold NaN, the numbers of images differ, labels hold other
            values, or ``unknown`` is neither word.

    Example:
        >>> scores = torch.tensor([[0.9], [0.8], [0.7]])
        >>> concept_average_precision(scores, torch.tensor([[1, 0], [0, -1], [1, 1]]))
        tensor([[0.8333, 0.5000]], dtype=torch.float64)
    """
    return two_sided_average_precision(scores, labels, unknown)[0]


def signed_average_precision(
    scores: Real[Tensor, "n D"], labels: Labels | SparseLabels, unknown: Unknown = "ignore"
) -> Float64[Tensor, "D C"]:
    """The larger average precision of each direction and its negative, since the sign of a direction is arbitrary.

    Args:
        scores: as for ``concept_average_precision``.
        labels: as there.
        unknown: as there.

    Returns:
        ``(D, C)`` in float64.

    Raises:
        TypeError: as there.
        ValueError: as there.

    Example:
        >>> scores = torch.tensor([[0.9], [0.8], [0.7]])
        >>> signed_average_precision(scores, torch.tensor([[0], [0], [1]]))
        tensor([[1.]], dtype=torch.float64)
    """
    return torch.fmax(*two_sided_average_precision(scores, labels, unknown))


def two_sided_average_precision(
    scores: Real[Tensor, "n D"], labels: Labels | SparseLabels, unknown: Unknown = "ignore"
) -> tuple[Float64[Tensor, "D C"], Float64[Tensor, "D C"]]:
    """The average precisions of every direction and of its negative, from one sort.

    Args:
        scores: as for ``concept_average_precision``.
        labels: as there.
        unknown: as there.

    Returns:
        That of ``v`` and that of ``−v``, each ``(D, C)`` in float64.

    Raises:
        TypeError: as there.
        ValueError: as there.

    Example:
        >>> scores = torch.tensor([[0.9], [0.8], [0.7]])
        >>> up, down = two_sided_average_precision(scores, torch.tensor([[0], [1], [1]]))
        >>> round(float(up), 4), float(down)
        (0.5833, 1.0)
    """
    check_tensor(scores, "scores", "(n, D)")
    labels = as_sparse(labels)
    if len(scores) != len(labels):
        raise ValueError(f"scores have {len(scores)} images and labels {len(labels)}; they must be the same images.")
    ranking = ranking_of(labels, unknown)
    up, down = (torch.empty(scores.shape[1], labels.shape[1], dtype=torch.float64) for _ in range(2))
    for columns, *rows in zip(
        scores.detach().split(_COLUMNS, dim=1), up.split(_COLUMNS), down.split(_COLUMNS), strict=True
    ):
        for row, found in zip(rows, average_precision_rows(ranking, columns.T), strict=True):
            row.copy_(found)
    return up.to(scores.device), down.to(scores.device)


def ranking_of(labels: Labels | SparseLabels, unknown: str) -> PositiveRanking:
    """Labels sorted out for ranking any number of directions.

    Raises:
        ValueError: if labels hold other values than 1, 0, −1, or ``unknown`` is neither word.
    """
    if unknown not in ("ignore", "negative"):
        raise ValueError(f"unknown must be 'ignore' or 'negative', not {unknown!r}.")
    return PositiveRanking(as_sparse(labels), everything_known=unknown == "negative")


def average_precision_rows(
    ranking: PositiveRanking, scores: Real[Tensor, "D n"]
) -> tuple[Float64[Tensor, "D C"], Float64[Tensor, "D C"]]:
    """The average precisions of directions, one a row, and of their negatives; on the CPU.

    Raises:
        ValueError: if scores hold NaN.
    """
    if scores.dtype not in (torch.float32, torch.float64):
        scores = scores.to(torch.float32 if scores.is_floating_point() else torch.float64)
    rows = np.ascontiguousarray(scores.detach().cpu().numpy())
    if rows.size and np.isnan(rows.min(axis=1)).any():  # a minimum is NaN if any is, and is quick to find
        raise ValueError("scores hold NaN, which has no rank.")
    up, down = ranking.average_precision(rows)
    return torch.from_numpy(up), torch.from_numpy(down)
