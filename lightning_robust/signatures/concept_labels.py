"""Which concepts can be judged at all, and the permuted-label control (METHODS 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from lightning_robust.signatures.sparse_labels import Labels, SparseLabels, as_sparse, pack_bits

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


def eligible_concepts(labels: Labels | SparseLabels) -> ConceptEligibility:
    """Apply the rule: at least 10 known positives, 10 known negatives and a known prevalence of at most 50 %.

    With fewer positives a high average precision comes by chance, and at a high prevalence nearly any direction has
    one.

    Args:
        labels: ``(n, C)`` in {1, 0, −1 unknown}, or ``SparseLabels``.

    Returns:
        The frozen record.

    Raises:
        TypeError: if labels are no tensor.
        ValueError: if they are no matrix or hold other values.

    Example:
        >>> labels = torch.tensor([[1, 1]] * 10 + [[0, 1]] * 10)
        >>> eligible_concepts(labels).excluded
        (1,)
    """
    sparse = as_sparse(labels)
    positives = sparse.positives_per_concept()
    known = sparse.known_per_concept()
    negatives = known - positives
    prevalence = positives.to(torch.float64) / known
    eligible = (positives >= MIN_POSITIVES) & (negatives >= MIN_NEGATIVES) & (prevalence <= MAX_PREVALENCE)
    excluded = tuple((~eligible).nonzero().flatten().tolist())
    return ConceptEligibility(eligible, excluded, positives, negatives, prevalence)


@overload
def permute_within_category(
    labels: SparseLabels, categories: Sequence[str], seed: int = 0, order: Int64[Tensor, " n"] | None = None
) -> SparseLabels: ...


@overload
def permute_within_category(
    labels: Tensor, categories: Sequence[str], seed: int = 0, order: Int64[Tensor, " n"] | None = None
) -> Tensor: ...


def permute_within_category(
    labels: Labels | SparseLabels,
    categories: Sequence[str],
    seed: int = 0,
    order: Int64[Tensor, " n"] | None = None,
) -> Tensor | SparseLabels:
    """Shuffle, category by category, which annotated image carries which labels.

    All columns of a category move together among the images that are annotated for it (where any of its concepts is
    known), so prevalences, co-occurrence within the category and the unknowns stay as they are, and only the link
    to the image is cut: what average precision is left comes by chance.

    Args:
        labels: ``(n, C)`` in {1, 0, −1 unknown}, or ``SparseLabels``.
        categories: the category of each of the C concepts.
        seed: of the permutation.
        order: all images in an order of their own, by which the permutation goes instead of by their place: the same
            images in another sequence (those of several processes) then get the same labels.

    Returns:
        New labels of the same kind, shape and dtype; the same permutation for both kinds.

    Raises:
        TypeError: if labels are no tensor.
        ValueError: if there is not one category per concept, or labels are no matrix or hold other values.

    Example:
        >>> permute_within_category(torch.tensor([[1, 0], [-1, 0]]), ["colour", "part"])
        tensor([[ 1,  0],
                [-1,  0]])
    """
    sparse = as_sparse(labels)
    if len(categories) != sparse.concepts:
        raise ValueError(f"{sparse.concepts} concepts need as many categories, not {len(categories)}.")
    generator = torch.Generator().manual_seed(seed)
    device = sparse.known.device
    images, known = sparse.images, sparse.known.clone()
    for category in dict.fromkeys(categories):
        of = torch.tensor([name == category for name in categories], device=device)
        bits = pack_bits(of[None])
        shown = (sparse.known & bits).any(dim=1).bool()
        annotated = shown.nonzero().flatten() if order is None else order[shown[order]]
        drawn = torch.randperm(len(annotated), generator=generator).to(device)
        # annotated[i] gets what annotated[drawn[i]] had
        receiver = torch.arange(len(sparse), device=device)
        receiver[annotated[drawn]] = annotated
        moved = of[sparse.positives.long()]
        images = torch.where(moved, receiver[images], images)
        known[annotated] = (known[annotated] & ~bits) | (sparse.known[annotated[drawn]] & bits)
    keys = (images * sparse.concepts + sparse.positives).sort().values
    count = torch.bincount(images, minlength=len(sparse)).to(torch.int32)
    permuted = SparseLabels(count, (keys % max(1, sparse.concepts)).to(torch.int32), known, sparse.concepts)
    return permuted if isinstance(labels, SparseLabels) else permuted.dense().to(labels.dtype)
