"""Smaller tables of `prune`: what is left at fixed fractions, and a row for each of many models."""

from collections.abc import Sequence
from statistics import mean

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.fitting import print_fitting
from lightning_robust.report.prune_cells import (
    aligned,
    many_tries,
    percent,
    pruned_cells,
    robustness_cell,
    unbroken_cells,
)
from lightning_robust.report.prune_words import FORMS, clipped
from lightning_robust.results.prune_record import PruneCurve, PrunedModel

__all__ = ["print_along", "print_order", "print_same_answers"]

_LONGEST = 40  # characters of a model's name
_FEW = 4  # models: their names are whole
_SAME = {"importance": "the head", "reduced_rank": "reduced-rank", "random_head": "random ‡"}
_Column = tuple[str, Sequence[str]]


def print_along(model: PrunedModel, console: Console) -> None:
    """Print what is left of the raw head at fixed fractions: the most important directions kept, beside random ones.

    Args:
        model: One model; without such a curve nothing is printed.
        console: Where to print.
    """
    own, random = model.curve("importance", "raw"), model.curve("random", "raw")
    if own is None:
        return
    order = sorted(map(int, own.judged), reverse=True)
    points = [own.judged[str(kept)] for kept in order]
    left: list[_Column] = [("reference", [f"{100 * point.reference:.1f}" for point in points])]
    if model.unpruned.shifts_mean is not None:
        left.append(("shifts", [f"{100 * (point.shifts_mean or 0.0):.1f}" for point in points]))
    groups: list[list[_Column]] = [[("kept", [f"{kept:,}" for kept in order])], left]
    if any(point.robustness for point in points):
        groups.append([("ER [95 %]", [robustness_cell(point) for point in points])])
    if random is not None:
        beside = [_random_cells(model, random, kept) for kept in order]
        groups.append([(f"random:\n{what}", cells) for (what, _), *cells in zip(left, *beside, strict=True)])
    print_fitting(console, [f"{percent(1 - kept / own.total)} %" for kept in order], groups)


def _random_cells(model: PrunedModel, random: PruneCurve, kept: int) -> list[str]:
    """On the reference and, where there are any, the shifts: means over the draws."""
    figures = [model.accuracies(random, model.unpruned.rows[0].set), model.shift_accuracies(random)]
    if kept not in random.kept:
        return [DASH for draws in figures if draws]
    place = random.kept.index(kept)
    return [f"{100 * mean(draw[place] for draw in draws):.1f}" for draws in figures if draws]


def print_order(models: Sequence[PrunedModel], labels: Sequence[str], order: str, console: Console) -> None:
    """Print how far one order goes in many models, for the raw and the centred head.

    Args:
        models: The models.
        labels: What they are called.
        order: Name of the order.
        console: Where to print.
    """
    sets = {"reference": "reference"}
    if any(model.unpruned.shifts_mean is not None for model in models):
        sets["shifts"] = "shifts"
    rows: list[tuple[str, PrunedModel, bool]] = []
    for label, model in zip(_row_labels(models, labels), models, strict=True):
        rows.append((label, model, False))
        if any(many_tries(model.curve(order, form)) for form in FORMS):
            rows.append(("  without a break", model, True))
    groups: list[list[_Column]] = [[("r", ["" if again else f"{model.rank_raw:,}" for _, model, again in rows])]]
    for form in FORMS:
        for what, words in sets.items():
            cells = [
                (unbroken_cells if again else pruned_cells)(model.curve(order, form), what) for _, model, again in rows
            ]
            groups.append([(f"{form}:\n{words}", aligned(cells))])
    print_fitting(console, [label for label, _, _ in rows], groups)


def print_same_answers(models: Sequence[PrunedModel], labels: Sequence[str], console: Console) -> None:
    """Print how much can go while answers stay: of each head, of its best truncation and of random heads.

    Args:
        models: The models.
        labels: What they are called.
        console: Where to print.
    """
    groups: list[list[_Column]] = []
    for form in FORMS:
        curves = {order: [model.curve(order, form) for model in models] for order in _SAME}
        if any(curves["random_head"]):
            titles = {order: f"{form}:\n{words}" for order, words in _SAME.items()}
            groups.append(
                [
                    (titles[order], aligned([pruned_cells(one, "agreement") for one in found]))
                    for order, found in curves.items()
                ]
            )
    if groups:
        print_fitting(console, _row_labels(models, labels, clip=len(models) > _FEW), groups)


def _row_labels(models: Sequence[PrunedModel], labels: Sequence[str], *, clip: bool = True) -> list[str]:
    """Ready for markup."""
    return [
        escape(clipped(label, _LONGEST) if clip else label) if model.role == "asked" else model.role
        for model, label in zip(models, labels, strict=True)
    ]
