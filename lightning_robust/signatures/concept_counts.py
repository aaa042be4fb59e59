"""How many concepts a basis encodes: unique concepts, concepts per direction, polysemanticity (METHODS 5)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float64
from torch import Tensor

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class ConceptCounts:
    """Counts of one basis; every tuple has one entry per threshold.

    Attributes:
        thresholds: average precisions from which a direction is said to encode a concept.
        unique_concepts: concepts encoded by at least one direction.
        concepts_per_direction: mean number of concepts over all D directions.
        polysemantic_share: directions with two or more concepts among those with one or more; NaN if there is none.
        polysemantic_mean: mean number of concepts of the directions with one or more; NaN if there is none.
        mean_best_ap: mean over the eligible concepts of the best average precision any direction has.
        eligible: concepts counted. excluded: concepts left out.
        directions: D.
    """

    thresholds: tuple[float, ...]
    unique_concepts: tuple[int, ...]
    concepts_per_direction: tuple[float, ...]
    polysemantic_share: tuple[float, ...]
    polysemantic_mean: tuple[float, ...]
    mean_best_ap: float
    eligible: int
    excluded: int
    directions: int


def count_concepts(
    ap: Float64[Tensor, "D C"], eligible: Bool[Tensor, " C"], thresholds: Sequence[float] = THRESHOLDS
) -> ConceptCounts:
    """Count the concepts that a basis encodes, from its average precisions.

    Direction i encodes concept c if its average precision is at least the threshold (0.9 by Suau et al. 2020). The
    paper's revision withdraws the number of unique concepts as a sign of robustness; say so where it is printed.

    Args:
        ap: ``(D, C)``, from ``signed_average_precision``.
        eligible: ``(C,)``, from ``eligible_concepts``; the others are not counted.
        thresholds: in (0, 1].

    Returns:
        The frozen counts.

    Raises:
        ValueError: if ap holds no direction, or a threshold is outside (0, 1].

    Example:
        >>> import torch
        >>> ap = torch.tensor([[0.95, 0.92], [0.2, 0.91]], dtype=torch.float64)
        >>> counts = count_concepts(ap, torch.tensor([True, True]), thresholds=(0.9,))
        >>> counts.unique_concepts, counts.concepts_per_direction, counts.polysemantic_share
        ((2,), (1.5,), (0.5,))
    """
    if len(ap) == 0:
        raise ValueError("ap holds no direction, so there is nothing to count.")
    wrong = [level for level in thresholds if not 0 < level <= 1]
    if wrong:
        raise ValueError(f"thresholds must be in (0, 1], not {wrong}.")
    counted = ap[:, eligible]
    hits = [counted >= level for level in thresholds]
    per_direction = [hit.sum(dim=1) for hit in hits]
    best = counted.amax(dim=0)
    return ConceptCounts(
        thresholds=tuple(thresholds),
        unique_concepts=tuple(int(hit.any(dim=0).sum()) for hit in hits),
        concepts_per_direction=tuple(float(count.double().mean()) for count in per_direction),
        polysemantic_share=tuple(_ratio(int((c >= 2).sum()), int((c >= 1).sum())) for c in per_direction),
        polysemantic_mean=tuple(_ratio(int(c.sum()), int((c >= 1).sum())) for c in per_direction),
        mean_best_ap=float(best.mean()) if len(best) else math.nan,
        eligible=counted.shape[1],
        excluded=ap.shape[1] - counted.shape[1],
        directions=len(ap),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
