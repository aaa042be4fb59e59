"""The engine of average precision: one sort of the images for a direction, one of the ranks of all positives.

For a concept with P positives among K known images, let r be the rank of a positive among the known and j its place
among the positives, both counted from the largest score. Then AP is the mean of j / r, and AP of the negated scores the
mean of (P + 1 − j) / (K + 1 − r), from the same sort. Equal scores share the last rank of their run, seen from either
end: they are marked by the lowest bit of their rank, left out of the sums at first, and added in one go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_robust.signatures.concept_blocks import KnownGroup, PositiveBlock, known_groups
from lightning_robust.signatures.sparse_labels import SparseLabels

_DIRECTIONS = 4
"""Directions ranked together: fewer calls, and what belongs to the labels is read once for all of them."""

_TABLES = 8
"""Groups of concepts whose known images are ranked together: as many as a byte has bits."""

_PADDING = 2**31 - 2

Equals = tuple[np.ndarray, np.ndarray, np.ndarray]
Tied = list[tuple[int, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class _Desk:
    """Where a block is worked on: views of buffers that all blocks share, since making views takes time too."""

    number: int
    block: PositiveBlock
    ranks: np.ndarray  # (directions · rows · w,), like all that are not said to be different
    ranks_of_rows: np.ndarray  # (directions · rows, w)
    ranks_of_directions: np.ndarray  # (directions, rows · w)
    bits: np.ndarray
    marks: np.ndarray
    floats: np.ndarray
    floats_of_directions: np.ndarray
    terms_of_rows: np.ndarray
    terms_of_directions: np.ndarray
    ones: np.ndarray  # (w,)
    up: np.ndarray  # (directions · rows,) sums, each block's its own
    down: np.ndarray


class _Room:
    """Groups that are ranked together, and a desk for each of their blocks.

    Sums stand block after block; ``cells`` says which ``direction · C + concept`` each one is of.
    """

    def __init__(self, groups: Sequence[KnownGroup], buffers: Sequence[np.ndarray], C: int) -> None:
        self.groups, blocks = groups, [block for group in groups for block in group.blocks]
        self.known = np.array([group.known for group in groups])
        self.codes = np.packbits(self.known, axis=0, bitorder="little")[0]
        rows = np.array([len(block.concepts) for block in blocks])
        self.widths = np.array([block.width for block in blocks])
        self.first_rows = _DIRECTIONS * (np.cumsum(rows) - rows)
        self.group_of = np.repeat(np.arange(len(groups)), [len(group.blocks) for group in groups])
        offsets = C * np.arange(_DIRECTIONS)[:, None]
        self.cells = np.concatenate([(offsets + block.concepts).ravel() for block in blocks])
        self.up, self.down = np.empty((2, len(self.cells)))
        desks = [self._desk(number, block, buffers) for number, block in enumerate(blocks)]
        self.desks = [[desks[i] for i in np.flatnonzero(self.group_of == g)] for g in range(len(groups))]

    def _desk(self, number: int, block: PositiveBlock, buffers: Sequence[np.ndarray]) -> _Desk:
        first, size = int(self.first_rows[number]), _DIRECTIONS * len(block.images)
        here = slice(first, first + _DIRECTIONS * len(block.concepts))
        ranks, marks, floats, terms, ones = (buffer[:size] for buffer in buffers)
        return _Desk(
            number, block, ranks, ranks.reshape(-1, block.width), ranks.reshape(_DIRECTIONS, -1),
            terms.view(np.int32)[:size],  # free until the terms are there
            marks, floats, floats.reshape(_DIRECTIONS, -1), terms.reshape(-1, block.width),
            terms.reshape(_DIRECTIONS, -1), ones[: block.width], self.up[here], self.down[here],
        )  # fmt: skip


class PositiveRanking:
    """Labels, sorted out once, that rank the scores of any number of directions.

    Args:
        labels: of n images for C concepts.
        everything_known: counts images that were not annotated as negatives, rather than leaving them out.
    """

    def __init__(self, labels: SparseLabels, everything_known: bool) -> None:
        self.n, self.C = labels.shape
        self.positives = labels.positives_per_concept().cpu().numpy()
        groups, n = known_groups(labels, everything_known), self.n
        largest = _DIRECTIONS * max((len(b.images) for g in groups for b in g.blocks), default=0)
        ranks, marks = np.empty(largest, dtype=np.int32), np.empty(largest, dtype=bool)
        buffers = (ranks, marks, *np.empty((2, largest)), np.ones(largest))
        together = [groups[first : first + _TABLES] for first in range(0, len(groups), _TABLES)]
        self._rooms = [_Room(some, buffers, self.C) for some in together]
        self._even, self._images = 2 * np.arange(1, n + 1, dtype=np.int32), np.arange(n)
        tables = (min(_TABLES, len(groups)), _DIRECTIONS, n + 1)
        # for the image: 2 · rank among the known, + 1 if its score comes twice
        self._ranks = np.full(tables, _PADDING, dtype=np.int32)
        # for the rank: where its run of equal scores starts and ends
        self._starts, self._ends = np.zeros((2, *tables), dtype=np.int32)

    def average_precision(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AP of the scores of D directions, ``(D, n)``, and of their negatives: twice ``(D, C)``."""
        up, down = np.zeros((2, len(scores), self.C))
        for first in range(0, len(scores), _DIRECTIONS):
            # the last few are filled up with the last one, again and again
            rows = np.minimum(np.arange(first, first + _DIRECTIONS), len(scores) - 1)
            sums = self._sums([scores[row] for row in rows])
            for total, found in zip((up, down), sums, strict=True):
                total[first : first + _DIRECTIONS] = found[: len(scores) - first]
        count = np.where(self.positives, self.positives, np.nan)
        return up / count, down / count

    def _sums(self, scores: Sequence[np.ndarray]) -> np.ndarray:
        """Of four directions and their negatives the sum of precisions over the positives, ``(2, 4, C)``."""
        sums = np.zeros((2, _DIRECTIONS, self.C))
        up, down = sums.reshape(2, -1)
        orders = [self._descending(row) for row in scores]
        equals = self._equals(scores, orders)
        for room in self._rooms:
            for direction, order in enumerate(orders):
                self._rank(room, order, direction)
            self._mark(room, *equals)
            tied: Tied = []
            for group, desks, table in zip(room.groups, room.desks, self._ranks, strict=False):
                tied += _sum_untied(desks, table, group.number, len(equals[0]) > 0)
            up[room.cells], down[room.cells] = room.up, room.down
            if tied:
                self._add_tied(room, tied, up, down)
        return sums

    def _descending(self, scores: np.ndarray) -> np.ndarray:
        """The images from the largest score to the smallest, ``(n,)`` int64."""
        if scores.dtype != np.float32:
            return np.argsort(-scores)
        # as integers of the same order, with the image below them: sorting is faster than argsort
        bits = (np.float32(0) - scores).view(np.int32)
        keys: np.ndarray = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
        keys <<= 32
        keys |= self._images
        keys.sort()
        keys &= 0xFFFFFFFF
        return keys

    def _equals(self, scores: Sequence[np.ndarray], orders: Sequence[np.ndarray]) -> Equals:
        """Images with equal scores in all directions: which, where their direction starts in a table, which run."""
        found, before = [], 0
        for direction, (row, order) in enumerate(zip(scores, orders, strict=True)):
            images, runs = _runs_of_equals(row, order)
            found.append((images, np.full(len(images), direction * (self.n + 1)), runs + before))
            before += self.n
        images, offsets, runs = (np.concatenate(column) for column in zip(*found, strict=True))
        return images, offsets, runs

    def _rank(self, room: _Room, order: np.ndarray, direction: int) -> None:
        """Number the known images of each group, the best first."""
        codes = room.codes.take(order, mode="clip")
        for bit, (group, table) in enumerate(zip(room.groups, self._ranks, strict=False)):
            known = order if group.number == self.n else np.compress((codes & (1 << bit)) != 0, order)
            row = table[direction]  # twice as fast as table[direction, known]
            row[known] = self._even[: group.number]

    def _mark(self, room: _Room, images: np.ndarray, offsets: np.ndarray, runs: np.ndarray) -> None:
        """Set the bit of known images with equal scores, and write down where their runs start and end."""
        group, which = room.known[:, images].nonzero()
        if len(which):
            table, runs = group * self._ranks[0].size + offsets[which], runs[which]
            ranks, places = self._ranks.ravel(), table + images[which]
            rank = ranks[places] >> 1
            first, last, size = _runs((runs[1:] != runs[:-1]) | (group[1:] != group[:-1]))
            self._starts.ravel()[table + rank] = np.repeat(rank[first], size)
            self._ends.ravel()[table + rank] = np.repeat(rank[last], size)
            ranks[places] += 1

    def _add_tied(self, room: _Room, tied: Tied, up: np.ndarray, down: np.ndarray) -> None:
        """Add what was left out: positives with equal scores share the precision at the last of them."""
        numbers, found, ranks = zip(*tied, strict=True)
        block = np.repeat(numbers, [len(marked) for marked in found])
        place, rank, width = np.concatenate(found), np.concatenate(ranks), room.widths[block]
        row = (place / width).astype(np.int64)  # exact, and faster than the division of integers
        cell, before = room.cells[room.first_rows[block] + row], place - row * width
        at = (room.group_of[block] * _DIRECTIONS + cell // self.C) * (self.n + 1) + (rank >> 1)
        end = self._ends.ravel()[at]
        first, last, size = _runs((cell[1:] != cell[:-1]) | (end[1:] != end[:-1]))
        cell, start, end = cell[first], self._starts.ravel()[at[first]], end[first]
        known = np.array([group.number for group in room.groups])[room.group_of[block[first]]]
        P = self.positives[cell % self.C]
        up += np.bincount(cell, size * ((before[last] + 1) / end), minlength=len(up))
        down += np.bincount(cell, size * ((P - before[first]) / (known + 1 - start)), minlength=len(down))


def _sum_untied(desks: Sequence[_Desk], table: np.ndarray, known: int, any_tied: bool) -> Tied:
    """Sum the precisions of a group; return the marked ranks, which are left out: block, places and ranks."""
    tied, beyond = [], 2.0 * (known + 1)
    for desk in desks:
        block = desk.block
        table.take(block.images, axis=1, out=desk.ranks_of_directions, mode="clip")
        desk.ranks_of_rows.sort(axis=1)
        np.copyto(desk.floats, desk.ranks)
        if any_tied:
            np.left_shift(desk.ranks, 31, out=desk.bits)
            marked = np.less(desk.bits, 0, out=desk.marks).nonzero()[0]
            if len(marked):
                desk.floats[marked] = np.inf  # adds nothing here
                tied.append((desk.number, marked, desk.ranks[marked]))
        np.divide(block.up, desk.floats_of_directions, out=desk.terms_of_directions)
        np.matmul(desk.terms_of_rows, desk.ones, out=desk.up)
        np.subtract(beyond, desk.floats, out=desk.floats)
        np.divide(block.down, desk.floats_of_directions, out=desk.terms_of_directions)
        np.matmul(desk.terms_of_rows, desk.ones, out=desk.down)
    return tied


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
