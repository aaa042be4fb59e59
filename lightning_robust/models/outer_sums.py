"""Sums of outer products of many rows, in float64: half of the products, as the sum is symmetric."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_NUMBERS = 1 << 21  # taken to float64 at a time: 16 MB
_BLOCK = 128  # columns of a product; narrower ones are no faster


class OuterSum:
    """`S = Σ x xᵀ` over rows, `(d, d)`, kept in place: 8·d² bytes.

    Blocks of columns are multiplied with themselves and what is right of them. For d = 768 on one thread that takes
    two thirds of the time of `x.T @ x`; below d = 256 it is one product.

    Example:
        >>> total = OuterSum()
        >>> total.add(torch.tensor([[1.0, 2.0]], dtype=torch.float64))
        >>> total.matrix.tolist()
        [[1.0, 2.0], [2.0, 4.0]]
    """

    def __init__(self) -> None:
        self._upper: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Add the outer products of more rows.

        Args:
            rows: `(n, d)`, float64.
        """
        width = rows.shape[1]
        if self._upper is None:
            self._upper = rows.new_zeros(width, width)
        step = _BLOCK if width >= 2 * _BLOCK else width
        for first in range(0, width, step):
            block = rows[:, first : first + step]
            self._upper[first : first + step, first:].addmm_(block.T, rows[:, first:])

    @property
    def matrix(self) -> Tensor:
        """The sum, `(d, d)`, exactly symmetric; a copy. Of shape `()` before there are rows."""
        if self._upper is None:
            return torch.zeros((), dtype=torch.float64)
        upper = self._upper.triu()
        return upper + upper.triu(1).T

    @property
    def diagonal(self) -> Tensor:
        """Sums of squares, `(d,)`; a copy. Of shape `()` before there are rows."""
        return self.matrix if self._upper is None else self._upper.diagonal().clone()

    def merge(self, other: OuterSum) -> None:
        """Add another sum.

        Args:
            other: Of rows of the same width; not changed.
        """
        if other._upper is not None:
            self._upper = other._upper + (0 if self._upper is None else self._upper)


def pieces(rows: Tensor) -> Iterator[Tensor]:
    """Rows in pieces whose copies in float64 are small.

    Args:
        rows: `(n, d)`; nothing comes for n = 0.
    """
    if len(rows):
        yield from rows.split(max(_NUMBERS // rows.shape[1], 1))
