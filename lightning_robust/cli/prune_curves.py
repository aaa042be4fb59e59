"""Curves of pruning: accuracies at every number kept, headlines searched over all of them, intervals at a few."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.cli.prune_counts import Answers, Counts, Predictions, count_answers, judged_at, robustness_at
from lightning_robust.cli.prune_parts import HeadParts
from lightning_robust.results.effective_robustness import ShiftRobustness
from lightning_robust.results.prune_record import AGREEMENT_ORDERS, JudgedPoint, PruneCurve
from lightning_robust.results.pruned_headline import PrunedHeadline
from lightning_robust.robustness.largest_pruned import largest_pruned

__all__ = ["GRID", "JUDGED_FRACTIONS", "Sweep", "curve_of", "grid_of", "judged_point"]

GRID: Final = 64
"""Curves of more steps are told at this many, evenly spaced, and where headlines and intervals are."""
JUDGED_FRACTIONS: Final = (0.0, 0.25, 0.5, 0.75, 0.9)
"""Fractions pruned at which accuracies and effective robustness have intervals, beside the headlines."""
RANDOM_HEAD: Final = "random_head"
AGREEMENT: Final = "agreement"


@dataclass(frozen=True, eq=False)
class Sweep:
    """One order in which directions or features go.

    Attributes:
        order, form, of, total, seeds: As of `PruneCurve`.
        draws: Predictions for each seed, or one; rows are `total`, `total − 1`, …, 0 kept.
        marked: Numbers kept that the curve has in any case.
    """

    order: str
    form: str
    of: str
    total: int
    draws: tuple[Predictions, ...]
    seeds: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()


def judged_point(counts: Counts, row: int, opened: Opened) -> JudgedPoint:
    """One head as `evaluate` judges a model, intervals included.

    Args:
        counts: The answers of K heads.
        row: Which of them.
        opened: Sets and baseline.
    """
    return JudgedPoint(rows=judged_at(counts, row, opened), robustness=robustness_at(counts, row, opened))


def curve_of(
    sweep: Sweep, head: HeadParts, whole: Answers, opened: Opened, seen: Callable[[int], None] | None = None
) -> PruneCurve:
    """Follow one order down to nothing.

    Args:
        sweep: The order.
        head: The model on every set.
        whole: The answers of its whole head.
        opened: Sets, baseline, points and seed.
        seen: Called with numbers of images, for progress.
    """
    every = tuple(range(sweep.total, -1, -1))
    found: list[Counts] = []
    headlines: list[Mapping[str, PrunedHeadline]] = []
    for predictions in sweep.draws:
        counts, answers = count_answers(head, predictions, own_whole=sweep.order == RANDOM_HEAD, seen=seen)
        found.append(counts)
        headlines.append(_headlines(sweep, every, answers, whole, opened))
    chosen = sorted({round(sweep.total * (1 - fraction)) for fraction in JUDGED_FRACTIONS} - {0})
    accurate = [headline for what, headline in headlines[0].items() if what != AGREEMENT]
    chosen += [kept for kept in dict.fromkeys(headline.kept for headline in accurate) if kept not in chosen]
    told = {headline.kept for draw in headlines for headline in draw.values()}
    kept = grid_of(sweep.total, {*chosen, *told, *sweep.marked})
    rows = [sweep.total - k for k in kept]
    estimates = _estimates(found, rows, opened)
    return PruneCurve(
        order=sweep.order,
        form=sweep.form,
        of=sweep.of,
        total=sweep.total,
        kept=kept,
        seeds=sweep.seeds,
        correct=_by_set([counts.correct for counts in found], rows),
        agreement=_by_set([counts.agreement for counts in found], rows),
        robustness=tuple(tuple(None if one is None else one.estimate for one in draw) for draw in estimates),
        extrapolated=tuple(tuple(one is not None and one.extrapolated for one in draw) for draw in estimates),
        headlines={name: tuple(draw[name] for draw in headlines) for name in headlines[0]},
        judged={str(k): judged_point(found[0], sweep.total - k, opened) for k in sorted(chosen, reverse=True)},
    )


def grid_of(total: int, marked: Sequence[int] | set[int]) -> tuple[int, ...]:
    """Numbers kept that a curve tells, descending: all of them, or evenly spaced ones and those that are marked.

    Args:
        total: How many there are.
        marked: Which are told in any case.

    Example:
        >>> grid_of(3, [])
        (3, 2, 1, 0)
        >>> len(grid_of(512, [])), 77 in grid_of(512, [77])
        (65, True)
    """
    steps = range(total + 1) if total <= GRID else (round(total * step / GRID) for step in range(GRID + 1))
    return tuple(sorted({*steps, *marked}, reverse=True))


def _headlines(
    sweep: Sweep, every: Sequence[int], answers: Answers, whole: Answers, opened: Opened
) -> dict[str, PrunedHeadline]:
    """The largest fraction pruned on the reference and in the mean of the shifts, and while answers stay."""
    settings = {"points": opened.args.points / 100, "seed": opened.args.seed}
    reference, *shifts = [one.name for one in opened.sets]
    found = {}
    if sweep.order in AGREEMENT_ORDERS:
        agrees, all_of_them = {reference: answers.agrees}, {reference: np.ones(answers.agrees.shape[1], dtype=bool)}
        found[AGREEMENT] = largest_pruned(agrees, every, sweep.total, all_of_them, **settings)
    if sweep.order == RANDOM_HEAD:
        return found
    found |= {
        "reference": largest_pruned(
            {reference: answers.right[reference]}, every, sweep.total, _first({reference: whole.right[reference]}),
            **settings,
        )
    }  # fmt: skip
    if shifts:
        found["shifts"] = largest_pruned(
            {name: answers.right[name] for name in shifts}, every, sweep.total,
            _first({name: whole.right[name] for name in shifts}), **settings,
        )  # fmt: skip
    return found


def _first(flags: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
    return {name: rows[0] for name, rows in flags.items()}


def _by_set(
    draws: Sequence[Mapping[str, NDArray[np.int64]]], rows: Sequence[int]
) -> dict[str, tuple[tuple[int, ...], ...]]:
    return {name: tuple(tuple(draw[name][rows].tolist()) for draw in draws) for name in draws[0]}


def _estimates(found: Sequence[Counts], rows: Sequence[int], opened: Opened) -> list[list[ShiftRobustness | None]]:
    """Mean effective robustness without intervals; nothing where the baseline has a line for none of the shifts."""
    draws = [[robustness_at(counts, row, opened, replicates=0) for row in rows] for counts in found]
    if all(one is None for draw in draws for one in draw):
        return []
    return [[None if one is None else one.mean for one in draw] for draw in draws]
