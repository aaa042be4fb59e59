"""How many concepts a basis encodes: unique concepts, concepts per direction, polysemanticity (METHODS 5)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Bool, Float64
from torch import Tensor

from lightning_robust.signatures.concept_checks import check_table

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""0.5, 0.6 … 0.9: those that monitors log."""

CURVE_THRESHOLDS = tuple(step / 20 for step in range(6, 20))
"""0.3, 0.35 … 0.95: the count as a curve; every threshold of ``THRESHOLDS`` is among them."""


@dataclass(frozen=True)
class ConceptCounts:
    """Counts of one basis; every tuple has one entry per threshold.

    Attributes:
        thresholds: average precisions from which a direction is said to encode a concept.
        unique_concepts: concepts encoded by at least one direction.
        concepts_per_direction: mean number of concepts over all D directions.
        polysemantic_share: directions with two or more concepts among those with one or more; NaN if there is none.
        monosemantic_share: directions with exactly one concept among all D directions, in [0, 1]. Where a share e of
            the directions encodes any concept it is e · (1 − polysemantic_share): the other share says nothing of how
            many directions encode nothing, this one does.
        polysemantic_mean: mean number of concepts of the directions with one or more; NaN if there is none.
        mean_best_ap: mean over the eligible concepts of the best average precision any direction has.
        eligible: concepts counted. excluded: concepts left out.
        directions: D.
        unique_by_category: the unique concepts of each category that has an eligible concept, if categories were given.
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
    unique_by_category: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    monosemantic_share: tuple[float, ...] = ()


def count_concepts(
    ap: Float64[Tensor, "D C"],
    eligible: Bool[Tensor, " C"],
    thresholds: Sequence[float] = THRESHOLDS,
    categories: Sequence[str] | None = None,
) -> ConceptCounts:
    """Count the concepts that a basis encodes, from its average precisions.

    Direction i encodes concept c if its average precision is at least the threshold (0.9 by Suau et al. 2020). The
    paper's revision withdraws the number of unique concepts as a sign of robustness; say so where it is printed.

    Args:
        ap: ``(D, C)``, from ``signed_average_precision``.
        eligible: ``(C,)``, from ``eligible_concepts``; the others are not counted.
        thresholds: in (0, 1]; ``CURVE_THRESHOLDS`` for the curve.
        categories: the category of each of the C concepts, to count in each; none by default.

    Returns:
        The frozen counts: 0 and NaN if no concept is eligible, or there is none.

    Raises:
        TypeError: if ap or eligible is no tensor, or eligible is not bool.
        ValueError: if the numbers of concepts differ, ap holds no direction, a threshold is outside (0, 1], or there
            is not one category per concept.

    Example:
        >>> import torch
        >>> ap = torch.tensor([[0.95, 0.92], [0.2, 0.91]], dtype=torch.float64)
        >>> counts = count_concepts(ap, torch.tensor([True, True]), thresholds=(0.9,))
        >>> counts.unique_concepts, counts.concepts_per_direction
        ((2,), (1.5,))
        >>> counts.polysemantic_share, counts.monosemantic_share
        ((0.5,), (0.5,))
    """
    ap, eligible = check_table(ap, eligible)
    if len(ap) == 0:
        raise ValueError("ap holds no direction, so there is nothing to count.")
    wrong = [level for level in thresholds if not 0 < level <= 1]
    if wrong:
        raise ValueError(f"thresholds must be in (0, 1], not {wrong}.")
    if categories is not None and len(categories) != ap.shape[1]:
        raise ValueError(f"{ap.shape[1]} concepts need as many categories, not {len(categories)}.")
    counted = ap[:, eligible]
    hits = [counted >= level for level in thresholds]
    per_direction = [hit.sum(dim=1) for hit in hits]
    unique = [hit.any(dim=0).tolist() for hit in hits]
    best = counted.amax(dim=0)
    of = [] if categories is None else [name for name, kept in zip(categories, eligible.tolist(), strict=True) if kept]
    return ConceptCounts(
        thresholds=tuple(thresholds),
        unique_concepts=tuple(sum(found) for found in unique),
        concepts_per_direction=tuple(float(count.double().mean()) for count in per_direction),
        polysemantic_share=tuple(_ratio(int((c >= 2).sum()), int((c >= 1).sum())) for c in per_direction),
        polysemantic_mean=tuple(_ratio(int(c.sum()), int((c >= 1).sum())) for c in per_direction),
        mean_best_ap=float(best.mean()) if len(best) else math.nan,
        eligible=counted.shape[1],
        excluded=ap.shape[1] - counted.shape[1],
        directions=len(ap),
        unique_by_category={
            category: tuple(sum(f for f, name in zip(found, of, strict=True) if name == category) for found in unique)
            for category in dict.fromkeys(of)
        },
        monosemantic_share=tuple(int((count == 1).sum()) / len(ap) for count in per_direction),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
