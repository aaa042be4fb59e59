"""Which concepts can be judged at all, and the permuted-label control (METHODS 5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from lightning_robust.signatures.concepts import Labels

MIN_POSITIVES = 10
MIN_NEGATIVES = 10
MAX_PREVALENCE = 0.5


@dataclass(frozen=True, eq=False)
class ConceptEligibility:
    """Which concepts have enough known images on both sides.

    Attributes:
        eligible: ``(C,)`` bool.
        excluded: indices of the others, ascending.
        positives: known positives, ``(C,)``. negatives: known negatives, ``(C,)``.
        prevalence: positives over known, ``(C,)``; NaN where nothing is known.
    """

    eligible: Bool[Tensor, " C"]
    excluded: tuple[int, ...]
    positives: Int64[Tensor, " C"]
    negatives: Int64[Tensor, " C"]
    prevalence: Float64[Tensor, " C"]


def eligible_concepts(labels: Labels) -> ConceptEligibility:
    """Apply the rule: at least 10 known positives, 10 known negatives and a known prevalence of at most 50 %.

    With fewer positives a high average precision comes by chance, and at a high prevalence nearly any direction has
    one.

    Args:
        labels: ``(n, C)`` in {1, 0, −1 unknown}.

    Returns:
        The frozen record.

    Example:
        >>> labels = torch.tensor([[1, 1]] * 10 + [[0, 1]] * 10)
        >>> eligible_concepts(labels).excluded
        (1,)
    """
    positives = (labels == 1).sum(dim=0)
    negatives = (labels == 0).sum(dim=0)
    prevalence = positives.to(torch.float64) / (positives + negatives)
    eligible = (positives >= MIN_POSITIVES) & (negatives >= MIN_NEGATIVES) & (prevalence <= MAX_PREVALENCE)
    excluded = tuple((~eligible).nonzero().flatten().tolist())
    return ConceptEligibility(eligible, excluded, positives, negatives, prevalence)


def permute_within_category(labels: Labels, categories: Sequence[str], seed: int = 0) -> Tensor:
    """Shuffle, category by category, which annotated image carries which labels.

    All columns of a category move together among the images that are annotated for it (where any of its concepts is
    known), so prevalences, co-occurrence within the category and the unknowns stay as they are, and only the link
    to the image is cut: what average precision is left comes by chance.

    Args:
        labels: ``(n, C)`` in {1, 0, −1 unknown}.
        categories: the category of each of the C concepts.
        seed: of the permutation.

    Returns:
        New labels of the same shape and dtype.

    Raises:
        ValueError: if there is not one category per concept.

    Example:
        >>> permute_within_category(torch.tensor([[1, 0], [-1, 0]]), ["colour", "part"])
        tensor([[ 1,  0],
                [-1,  0]])
    """
    if len(categories) != labels.shape[1]:
        raise ValueError(f"{labels.shape[1]} concepts need as many categories, not {len(categories)}.")
    generator = torch.Generator().manual_seed(seed)
    permuted = labels.clone()
    for category in dict.fromkeys(categories):
        columns = torch.tensor([i for i, name in enumerate(categories) if name == category], device=labels.device)
        block = labels[:, columns]
        annotated = (block >= 0).any(dim=1).nonzero().flatten()
        order = torch.randperm(len(annotated), generator=generator).to(labels.device)
        permuted[annotated[:, None], columns] = block[annotated[order]]
    return permuted
