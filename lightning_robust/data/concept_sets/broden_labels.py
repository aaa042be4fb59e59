"""Image-level labels of Broden: what is there, what is not, and what nobody looked for; kept sparse."""

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.concept_sets.broden_index import BrodenConcept
from lightning_robust.data.concept_sets.broden_masks import Findings

__all__ = ["BrodenLabels"]


class BrodenLabels:
    """Labels of n images for C concepts; `labels[i]` is `(C,)` int8 in {1, 0, −1}.

    * 1: the concept's number is in one of its categories' cells, among the whole-image labels or the pixels of any
      layer (with `min_area`: on at least that share of the mask).
    * 0: it is not, and the image was annotated for the concept's first category.
    * −1: otherwise. Without annotation an absent concept is not known to be absent; were it counted as negative, a
      probe would learn from which source data set an image comes.

    Only the first category, the most frequent one, makes negatives: *fabric*, `material(36);object(3)`, is often
    left undrawn where only objects were annotated.

    Args:
        concepts: The concepts, with the categories in which each is looked for.
        categories: The categories, in the order of the findings.
        findings: What the images show.
        min_area: Smallest share of the mask that counts; whole-image labels always do.

    Attributes:
        indptr: `(n + 1,)` int64. indices: positives as columns, ascending in each row: those of row i stand at
            `indices[indptr[i]:indptr[i + 1]]` (compressed rows, as in scipy).
        annotated: Whether image i can be a negative of concept c is `annotated[i, first_category[c]]`; `(n, K)`.
        first_category: `(C,)`, positions of categories.
    """

    def __init__(
        self,
        concepts: tuple[BrodenConcept, ...],
        categories: tuple[str, ...],
        findings: Findings,
        min_area: float = 0.0,
    ) -> None:
        position = {category: k for k, category in enumerate(categories)}
        n, largest = len(findings.annotated), max([int(findings.number.max(initial=0))] + [c.number for c in concepts])
        # one table of (category, number) → concept; −1 where no concept is looked for
        column = np.full((len(categories), largest + 1), -1, dtype=np.int64)
        for c, concept in enumerate(concepts):
            for category in concept.categories:
                column[position[category], concept.number] = c
        found = column[findings.category, findings.number]
        kept = (found >= 0) & (findings.area >= np.float32(min_area))
        # a concept found in two of its categories is there once
        pairs = np.unique(findings.row[kept].astype(np.int64) * len(concepts) + found[kept])
        self.indices = pairs % len(concepts)
        self.indptr = np.searchsorted(pairs, np.arange(n + 1) * len(concepts))
        self.annotated = findings.annotated
        self.first_category = np.array([position[concept.categories[0]] for concept in concepts], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.annotated)

    def __getitem__(self, index: int) -> NDArray[np.int8]:
        labels = np.where(self.annotated[index, self.first_category], 0, -1).astype(np.int8)
        labels[self.indices[self.indptr[index] : self.indptr[index + 1]]] = 1
        return labels
