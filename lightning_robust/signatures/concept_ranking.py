"""The engine of average precision: one sort of the images for a direction, one of the ranks of all positives.

For a concept with P positives among K known images, let r be the rank of a positive among the known and j its place
among the positives, both counted from the largest score. Then AP is the mean of j / r, and AP of the negated scores the
mean of (P + 1 − j) / (K + 1 − r), from the same sort. Equal scores share the last rank of their run, seen from either
end: they are marked by the lowest bit of their rank, left out of the sums at first, and added in one go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_robust.signatures.sparse_labels import SparseLabels

_DIRECTIONS = 4
"""Directions ranked together: fewer calls, and what belongs to the labels is read once for all of them."""

_TABLES = 8
"""Groups of concepts whose known images are ranked together: as many as a byte has bits."""

_ROW_ELEMENTS = 2**14
"""Positives of one direction that are treated together, so that four directions fit the cache."""

_FULL_ENOUGH = 0.8
_FEW = 2**11

_PADDING = 2**31 - 2


@dataclass(frozen=True)
class _Block:
    """Concepts of about as many positives each, as rows of one width w, so that one call sorts them all."""

    concepts: np.ndarray  # (rows,)
    cells: np.ndarray  # (directions · rows,), direction · C + concept
    images: np.ndarray  # (rows · w,), n where a row is shorter than w
    up: np.ndarray  # (rows · w,), 2 j; 0 where padded
    down: np.ndarray  # (rows · w,), 2 (P + 1 − j); 0 where padded
    width: int


@dataclass(frozen=True)
class _Group:
    """Concepts that share their known images."""

    known: np.ndarray  # (n,) bool
    number: int  # K
    blocks: list[_Block]


class PositiveRanking:
    """Labels, sorted out once, that rank the scores of any number of directions.

    Args:
        labels: of n images for C concepts.
        everything_known: counts images that were not annotated as negatives, rather than leaving them out.
    """

    def __init__(self, labels: SparseLabels, everything_known: bool) -> None:
        self.n, self.C = labels.shape
        self.positives = labels.positives_per_concept().cpu().numpy()
        self.groups = _groups(labels, self.positives, everything_known)
        n, largest = self.n, max((len(b.images) for g in self.groups for b in g.blocks), default=0)
        known = np.array([group.known for group in self.groups], dtype=bool).reshape(len(self.groups), n)
        self._codes = np.packbits(known, axis=0, bitorder="little")
        self._even = 2 * np.arange(1, n + 1, dtype=np.int32)
        # of each group and direction, for the image: 2 · rank among the known, + 1 if its score comes twice
        tables = min(_TABLES, len(self.groups))
        self._ranks = np.full((tables, _DIRECTIONS, n + 1), _PADDING, dtype=np.int32)
        # of each direction, for the rank: where its run of equal scores starts and ends
        self._starts, self._ends = np.zeros((2, _DIRECTIONS, n + 1), dtype=np.int32)
        self._sorted = np.empty(_DIRECTIONS * largest, dtype=np.int32)
        self._bits, self._marks = np.empty_like(self._sorted), np.empty(len(self._sorted), dtype=bool)
        self._floats, self._terms = np.empty((2, len(self._sorted)))
        self._ones = np.ones(largest)

    def average_precision(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AP of the scores of D directions, ``(D, n)``, and of their negatives: twice ``(D, C)``."""
        up, down = np.zeros((2, len(scores), self.C))
        for first in range(0, len(scores), _DIRECTIONS):
            part = slice(first, first + _DIRECTIONS)
            self._add(scores[part], up[part], down[part])
        count = np.where(self.positives, self.positives, np.nan)
        return up / count, down / count

    def _add(self, scores: np.ndarray, up: np.ndarray, down: np.ndarray) -> None:
        """Add the precisions of a few directions over the positives of every concept."""
        orders = [_descending(row) for row in scores]
        equals = self._equals(scores, orders)
        for number in range(0, len(self.groups), _TABLES):
            groups = self.groups[number : number + _TABLES]
            for direction, order in enumerate(orders):
                self._rank(groups, self._codes[number // _TABLES].take(order, mode="clip"), order, direction)
            for group, table in zip(groups, self._ranks, strict=False):
                self._mark(group, table.ravel(), *equals)
                self._sum(group, table, up, down, len(equals[0]) > 0)

    def _rank(self, groups: Sequence[_Group], codes: np.ndarray, order: np.ndarray, direction: int) -> None:
        """Number the known images of each group, the best first."""
        for bit, (group, table) in enumerate(zip(groups, self._ranks, strict=False)):
            known = order if group.number == self.n else np.compress((codes & (1 << bit)) != 0, order)
            row = table[direction]  # twice as fast as table[direction, known]
            row[known] = self._even[: group.number]

    def _equals(self, scores: np.ndarray, orders: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images with equal scores in all directions: which, where their direction starts in a table, which run."""
        found, before = [], 0
        for direction, (row, order) in enumerate(zip(scores, orders, strict=True)):
            images, runs = _runs_of_equals(row, order)
            found.append((images, np.full(len(images), direction * (self.n + 1)), runs + before))
            before += self.n
        images, offsets, runs = (np.concatenate(column) for column in zip(*found, strict=True))
        return images, offsets, runs

    def _mark(
        self, group: _Group, ranks: np.ndarray, images: np.ndarray, offsets: np.ndarray, runs: np.ndarray
    ) -> None:
        """Set the bit of known images with equal scores, and write down where their runs start and end."""
        here = group.known[images]
        images, offsets, runs = images[here], offsets[here], runs[here]
        if len(images):
            places = offsets + images
            rank = ranks[places] >> 1
            first, last, size = _runs(runs[1:] != runs[:-1])
            self._starts.ravel()[offsets + rank] = np.repeat(rank[first], size)
            self._ends.ravel()[offsets + rank] = np.repeat(rank[last], size)
            ranks[places] += 1

    def _sum(self, group: _Group, table: np.ndarray, up: np.ndarray, down: np.ndarray, any_tied: bool) -> None:
        D, ties = len(up), []
        for block in group.blocks:
            size = D * len(block.images)
            ranks, floats, terms = self._sorted[:size], self._floats[:size], self._terms[:size]
            table[:D].take(block.images, axis=1, out=ranks.reshape(D, -1), mode="clip")
            ranks.reshape(-1, block.width).sort(axis=1)
            np.copyto(floats, ranks)
            if any_tied:
                bits = np.left_shift(ranks, 31, out=self._bits[:size])
                marked = np.flatnonzero(np.less(bits, 0, out=self._marks[:size]))
                if len(marked):
                    floats[marked] = np.inf  # adds nothing here
                    row = marked // block.width
                    ties.append((block.cells[row], marked - row * block.width, ranks[marked]))
            self._divide(block.up, floats, terms, block, up)
            np.subtract(2.0 * (group.number + 1), floats, out=floats)
            self._divide(block.down, floats, terms, block, down)
        if ties:
            self._add_tied(group, [np.concatenate(column) for column in zip(*ties, strict=True)], up, down)

    def _divide(
        self, places: np.ndarray, ranks: np.ndarray, terms: np.ndarray, block: _Block, total: np.ndarray
    ) -> None:
        D = len(total)
        np.divide(places, ranks.reshape(D, -1), out=terms.reshape(D, -1))
        total[:, block.concepts] = (terms.reshape(-1, block.width) @ self._ones[: block.width]).reshape(D, -1)

    def _add_tied(self, group: _Group, ties: Sequence[np.ndarray], up: np.ndarray, down: np.ndarray) -> None:
        """Add what was left out: positives with equal scores share the precision at the last of them."""
        cell, before, rank = ties
        at = (cell // self.C) * (self.n + 1) + (rank >> 1)
        end = self._ends.ravel()[at]
        first, last, size = _runs((cell[1:] != cell[:-1]) | (end[1:] != end[:-1]))
        cell, start, end = cell[first], self._starts.ravel()[at[first]], end[first]
        P, K = self.positives[cell % self.C], group.number
        for total, terms in ((up, (before[last] + 1) / end), (down, (P - before[first]) / (K + 1 - start))):
            total += np.bincount(cell, size * terms, minlength=total.size).reshape(total.shape)


def _descending(scores: np.ndarray) -> np.ndarray:
    """The images from the largest score to the smallest, ``(n,)`` int64."""
    if scores.dtype != np.float32:
        return np.argsort(-scores)
    # as integers of the same order, with the image below them: sorting is faster than argsort
    bits = (np.float32(0) - scores).view(np.int32)
    keys: np.ndarray = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    keys <<= 32
    keys |= np.arange(len(scores))
    keys.sort()
    keys &= 0xFFFFFFFF
    return keys


def _runs_of_equals(scores: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images whose score comes more than once, best first, and a number for each such score, ascending."""
    ordered = scores.take(order, mode="clip")
    new = np.ones(len(order), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    tied = ~new
    tied[:-1] |= tied[1:]
    where = np.flatnonzero(tied)
    return order[where], np.cumsum(new[where])


def _runs(differs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and last index and length of each run, given where neighbours differ."""
    last = np.append(np.flatnonzero(differs), len(differs))
    size = np.diff(last, prepend=-1)
    return last - size + 1, last, size


def _groups(labels: SparseLabels, positives: np.ndarray, everything_known: bool) -> list[_Group]:
    n = len(labels)
    if not len(labels.positives):
        return []
    # the images of each concept
    by_concept = np.argsort(labels.positives.cpu().numpy(), kind="stable")
    images = np.split(labels.images.cpu().numpy()[by_concept], np.cumsum(positives)[:-1])
    used = np.flatnonzero(positives)
    used = used[np.argsort(-positives[used], kind="stable")]
    if everything_known:
        return [_Group(np.ones(n, dtype=bool), n, _blocks(used, images, n))]
    patterns, of = (tensor.cpu().numpy() for tensor in labels.patterns())
    together: dict[bytes, list[int]] = {}
    for concept in used.tolist():
        together.setdefault(np.packbits(patterns[:, concept]).tobytes(), []).append(concept)
    groups = []
    for concepts in together.values():
        known = patterns[:, concepts[0]][of]
        groups.append(_Group(known, int(known.sum()), _blocks(np.array(concepts), images, n)))
    return groups


def _blocks(concepts: np.ndarray, images: Sequence[np.ndarray], n: int) -> list[_Block]:
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


def _block(concepts: np.ndarray, images: Sequence[np.ndarray], width: int, n: int) -> _Block:
    filled = np.full((len(concepts), width), n)
    places = np.zeros((2, *filled.shape))
    for row, (ascending, descending), concept in zip(filled, places.swapaxes(0, 1), concepts, strict=True):
        P = len(images[concept])
        row[:P] = images[concept]
        ascending[:P] = 2 * np.arange(1, P + 1)
        descending[:P] = ascending[:P][::-1]
    cells = np.arange(_DIRECTIONS)[:, None] * len(images) + concepts
    up, down = places.reshape(2, -1)
    return _Block(concepts, cells.ravel(), filled.ravel(), up, down, width)
