"""Smaller tables of `prune`: what is left at fixed fractions, and a row for each of many models."""

from collections.abc import Sequence
from statistics import mean

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.fitting import print_fitting
from lightning_robust.report.prune_cells import aligned, percent, pruned_cells, robustness_cell
from lightning_robust.report.prune_words import FORMS, clipped
from lightning_robust.results.prune_record import PruneCurve, PrunedModel

__all__ = ["print_along", "print_order"]

_LONGEST = 26  # characters of a model's name
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
    groups: list[list[_Column]] = [[("r", [f"{model.rank_raw:,}" for model in models])]]
    for form in FORMS:
        columns = {what: aligned([pruned_cells(model.curve(order, form), what) for model in models]) for what in sets}
        groups.append([(f"{form}:\n{sets[what]}", cells) for what, cells in columns.items()])
    named = [
        escape(clipped(label, _LONGEST)) if model.role == "asked" else model.role
        for model, label in zip(models, labels, strict=True)
    ]
    print_fitting(console, named, groups)
