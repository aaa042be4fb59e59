"""A budget over the layers of a network: which rank each weight matrix gets, and which stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

COSTS = ("parameters", "flops")
Ranks = dict[str, int | None]
"""Rank by matrix; None stays dense."""


@dataclass(frozen=True)
class MatrixShape:
    """What one weight matrix costs.

    Attributes:
        out: Rows.
        inputs: Columns; `in·kh·kw` of a convolution.
        uses: How often an image passes through it: positions of a convolution, tokens of a transformer.
        shift: Parameters that the low-rank form has besides `A` and `B`: `out` where a bias is added, else 0.
    """

    out: int
    inputs: int
    uses: int = 1
    shift: int = 0

    def cost(self, rank: int | None, of: str = "parameters") -> int:
        """Parameters, or multiplications for one image ("flops"), at a rank; None is the dense matrix.

        Example:
            >>> MatrixShape(4, 6).cost(2), MatrixShape(4, 6).cost(None), MatrixShape(4, 6, uses=9).cost(None, "flops")
            (20, 24, 216)
        """
        weights = self.out * self.inputs if rank is None else rank * (self.out + self.inputs)
        return weights * self.uses if of == "flops" else weights + (0 if rank is None else self.shift)

    def largest(self, of: str = "parameters") -> int:
        """The largest rank that costs less than the dense matrix; 0 where there is none."""
        step = self.cost(2, of) - self.cost(1, of)
        return max((self.cost(None, of) - self.cost(0, of) - 1) // step, 0)


def total_cost(
    shapes: Mapping[str, MatrixShape], ranks: Mapping[str, int | None], *, of: str = "parameters", fixed: int = 0
) -> int:
    """Cost of a network at given ranks.

    Args:
        shapes: Of its matrices.
        ranks: Of each of them.
        of: "parameters" or "flops".
        fixed: Cost of what is in none of the matrices.
    """
    return fixed + sum(shape.cost(ranks[name], of) for name, shape in shapes.items())


def allocate(
    energies: Mapping[str, Sequence[float] | Tensor],
    shapes: Mapping[str, MatrixShape],
    keep: float,
    *,
    of: str = "parameters",
    fixed: int = 0,
    weights: Mapping[str, float] | None = None,
) -> Ranks:
    """Share a budget out over all matrices at once: the least total error for a share of the cost.

    A matrix of rank k loses `Σ_{i>k} e_i / Σ e_i` of its output, times its weight; a dense one nothing. Losses are
    added over matrices. Each matrix offers the lower convex hull of its (cost, loss) points, the jump from the best
    low rank to the dense matrix included (between `out·in/(out+in)` and the full rank `A B` is larger than W), and
    steps are taken by the loss that they save per cost: the optimum for every budget that a step ends at (Fox 1966).
    A jump that does not fit is filled with ranks of that matrix as far as they fit. So the cost is never above the
    budget and less than one rank below it, and a larger budget never gives a matrix a smaller rank.

    Args:
        energies: By matrix, descending: `Truncation.energies`.
        shapes: Of the same matrices.
        keep: Share of the whole cost (`fixed` included) to keep, in (0, 1]; 1 leaves all dense.
        of: What is kept to a share: "parameters" or "flops".
        fixed: Cost of what is in none of the matrices and stays.
        weights: What a relative error of each matrix counts, such as `layer_sensitivity`; None counts all alike.

    Returns:
        The ranks.

    Raises:
        ValueError: If names differ, `keep` is out of range, or rank 1 everywhere costs more.

    Example:
        >>> shapes = {"steep": MatrixShape(8, 8), "flat": MatrixShape(8, 8)}
        >>> allocate({"steep": [98, 1, 1, 0, 0, 0, 0, 0], "flat": [1] * 8}, shapes, 0.75)
        {'steep': 2, 'flat': None}
    """
    _check(shapes, keep, of, energies, weights)
    ranks: Ranks = {name: 1 if shape.largest(of) else None for name, shape in shapes.items()}
    budget = keep * total_cost(shapes, dict.fromkeys(shapes), of=of, fixed=fixed)
    spent = _spent_at_least(shapes, ranks, keep, of, fixed)
    names = [name for name, rank in ranks.items() if rank is not None]
    steps = [_steps(energies[name], shapes[name], of, 1.0 if weights is None else weights[name]) for name in names]
    owner = np.repeat(np.arange(len(names)), [len(costs) for costs, _ in steps])
    if not len(owner):
        return ranks
    costs = np.concatenate([costs for costs, _ in steps])
    order = np.argsort(-np.concatenate([worth for _, worth in steps]), kind="stable")
    fits = spent + costs[order].cumsum() <= budget
    taken = len(order) if fits.all() else int(fits.argmin())
    for index, count in enumerate(np.bincount(owner[order[:taken]], minlength=len(names))):
        ranks[names[index]] = None if count == len(steps[index][0]) else 1 + int(count)
    if taken < len(order):
        name = names[owner[order[taken]]]
        _fill(ranks, name, shapes[name], budget - spent - float(costs[order[:taken]].sum()), of)
    return ranks


def uniform_ranks(shapes: Mapping[str, MatrixShape], keep: float, *, of: str = "parameters", fixed: int = 0) -> Ranks:
    """The rival: the same share of every matrix, at the largest share that the budget allows.

    Args:
        shapes: Of the matrices.
        keep: Share of the whole cost to keep, in (0, 1]; 1 leaves all dense.
        of: "parameters" or "flops".
        fixed: Cost of what is in none of the matrices.

    Returns:
        Ranks `⌊share·out·in/(out+in)⌋`, at least 1; dense where rank 1 is no saving.

    Raises:
        ValueError: If `keep` is out of range, or rank 1 everywhere costs more.

    Example:
        >>> uniform_ranks({"a": MatrixShape(8, 8), "b": MatrixShape(4, 12)}, 0.5)
        {'a': 2, 'b': 1}
    """
    _check(shapes, keep, of)
    if keep == 1:
        return dict.fromkeys(shapes)
    budget = keep * total_cost(shapes, dict.fromkeys(shapes), of=of, fixed=fixed)
    _spent_at_least(shapes, _at_share(shapes, 0.0, of), keep, of, fixed)
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        fits = total_cost(shapes, _at_share(shapes, middle, of), of=of, fixed=fixed) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return _at_share(shapes, low, of)


def _at_share(shapes: Mapping[str, MatrixShape], share: float, of: str) -> Ranks:
    ranks: Ranks = {}
    for name, shape in shapes.items():
        rank = int(share * shape.out * shape.inputs / (shape.out + shape.inputs))
        ranks[name] = min(max(rank, 1), shape.largest(of)) if shape.largest(of) else None
    return ranks


def _steps(
    energies: Sequence[float] | Tensor, shape: MatrixShape, of: str, weight: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cost and loss saved per cost of the steps along the hull, from rank 1 to dense."""
    e = np.minimum.accumulate(np.asarray(energies, dtype=np.float64).clip(min=0))
    total, most = float(e.sum()) or 1.0, shape.largest(of)
    tails = np.append(e[::-1].cumsum()[::-1], 0.0)[1 : most + 1]  # after rank 1, 2, …, most
    ranks = np.arange(1, most + 1)
    to_dense = np.array([shape.cost(None, of) - shape.cost(int(k), of) for k in ranks], dtype=np.int64)
    turn = int((tails / to_dense).argmin())  # the tangent from the dense point touches the curve here
    step = shape.cost(2, of) - shape.cost(1, of)
    costs = np.append(np.full(turn, step, dtype=np.int64), to_dense[turn])
    worth = np.append(e[1 : turn + 1] / step, tails[turn] / to_dense[turn]) * (weight / total)
    return costs, np.minimum.accumulate(worth)


def _fill(ranks: Ranks, name: str, shape: MatrixShape, left: float, of: str) -> None:
    rank = ranks[name]
    if rank is not None:
        more = int(left // (shape.cost(2, of) - shape.cost(1, of)))
        ranks[name] = min(rank + more, shape.largest(of))


def _spent_at_least(shapes: Mapping[str, MatrixShape], ranks: Ranks, keep: float, of: str, fixed: int) -> int:
    least, all_dense = total_cost(shapes, ranks, of=of, fixed=fixed), dict.fromkeys(shapes)
    whole = total_cost(shapes, all_dense, of=of, fixed=fixed)
    if least > keep * whole:
        raise ValueError(
            f"Rank 1 everywhere still keeps {least / whole:.3f} of the {of}; keep at least that, not {keep:g}."
        )
    return least


def _check(
    shapes: Mapping[str, MatrixShape],
    keep: float,
    of: str,
    energies: Mapping[str, Sequence[float] | Tensor] | None = None,
    weights: Mapping[str, float] | None = None,
) -> None:
    if not 0 < keep <= 1:
        raise ValueError(f"The share to keep is above 0 and at most 1, not {keep:g}.")
    if of not in COSTS:
        raise ValueError(f"The budget is of {' or '.join(COSTS)}, not {of!r}.")
    for what, given in (("energies", energies), ("weights", weights)):
        odd = sorted(set(given) ^ set(shapes)) if given is not None else []
        if odd:
            raise ValueError(f"The {what} and the shapes are of the same matrices; {odd[0]!r} is in one of them only.")
    for name, e in (energies or {}).items():
        if len(e) != min(shapes[name].out, shapes[name].inputs):
            raise ValueError(
                f"{name!r} has min(out, in) = {min(shapes[name].out, shapes[name].inputs)} energies, not {len(e)}."
            )
