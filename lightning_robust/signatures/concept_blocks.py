"""Positives laid out for ranking: concepts that share their known images, in blocks of about as many positives each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_robust.signatures.sparse_labels import SparseLabels

_ROW_ELEMENTS = 2**13
"""Positives of one direction that are treated together, so that those of four directions fit the cache."""

_FULL_ENOUGH = 0.85
_FEW = 2**11


@dataclass(frozen=True)
class PositiveBlock:
    """Concepts as rows of one width w, so that one call sorts them all.

    Attributes:
        concepts: ``(rows,)``.
        images: ``(rows · w,)`` the images that show each; n, which is none, where a row is shorter than w.
        up: ``(rows · w,)`` twice the place of a positive counted from the first, 2 j; 0 where a row is shorter.
        down: ``(rows · w,)`` twice its place counted from the last, 2 (P + 1 − j); 0 where a row is shorter.
        width: w.
    """

    concepts: np.ndarray
    images: np.ndarray
    up: np.ndarray
    down: np.ndarray
    width: int


@dataclass(frozen=True)
class KnownGroup:
    """Concepts that share their known images.

    Attributes:
        known: ``(n,)`` bool, the images that were annotated for them.
        number: K, how many.
        blocks: the concepts, those with most positives first.
    """

    known: np.ndarray
    number: int
    blocks: list[PositiveBlock]


def known_groups(labels: SparseLabels, everything_known: bool) -> list[KnownGroup]:
    """Lay out all concepts that have a positive.

    Args:
        labels: of n images for C concepts.
        everything_known: counts images that were not annotated as negatives, rather than leaving them out.

    Returns:
        The groups; none if there is no positive.
    """
    n, positives = len(labels), labels.positives_per_concept().cpu().numpy()
    if not positives.any():
        return []
    by_concept = np.argsort(labels.positives.cpu().numpy(), kind="stable")
    images = np.split(labels.images.cpu().numpy()[by_concept], np.cumsum(positives)[:-1])
    used = np.flatnonzero(positives)
    used = used[np.argsort(-positives[used], kind="stable")]
    if everything_known:
        return [KnownGroup(np.ones(n, dtype=bool), n, _blocks(used, images, n))]
    patterns, of = (tensor.cpu().numpy() for tensor in labels.patterns())
    together: dict[bytes, list[int]] = {}
    for concept in used.tolist():
        together.setdefault(np.packbits(patterns[:, concept]).tobytes(), []).append(concept)
    groups = []
    for concepts in together.values():
        known = patterns[:, concepts[0]][of]
        groups.append(KnownGroup(known, int(known.sum()), _blocks(np.array(concepts), images, n)))
    return groups


def _blocks(concepts: np.ndarray, images: Sequence[np.ndarray], n: int) -> list[PositiveBlock]:
    """Cut concepts, those with most positives first, into blocks of little padding."""
    sizes, blocks, first = [len(images[c]) for c in concepts], [], 0
    while first < len(concepts):
        width, end = sizes[first], first + 1
        while (
            end < len(concepts)
            and (elements := (end + 1 - first) * width) <= _ROW_ELEMENTS
            and (sizes[end] >= _FULL_ENOUGH * width or elements <= _FEW)
        ):
            end += 1
        blocks.append(_block(concepts[first:end], images, width, n))
        first = end
    return blocks


def _block(concepts: np.ndarray, images: Sequence[np.ndarray], width: int, n: int) -> PositiveBlock:
    filled = np.full((len(concepts), width), n)
    up, down = np.zeros((2, *filled.shape))
    for row, ascending, descending, concept in zip(filled, up, down, concepts, strict=True):
        P = len(images[concept])
        row[:P] = images[concept]
        ascending[:P] = 2 * np.arange(1, P + 1)
        descending[:P] = ascending[:P][::-1]
    return PositiveBlock(concepts, filled.ravel(), up.ravel(), down.ravel(), width)
