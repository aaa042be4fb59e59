"""The tables of `prune`: how far each order goes, its controls below it, and what that says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.fitting import print_fitting
from lightning_robust.report.prune_cells import (
    aligned,
    left_cell,
    lost_words,
    many_tries,
    percent,
    pruned_cells,
    robustness_cell,
    same_answers_known,
    unbroken_cells,
)
from lightning_robust.report.prune_findings import findings
from lightning_robust.report.prune_many_findings import many_findings
from lightning_robust.report.prune_notes import notes
from lightning_robust.report.prune_overview import print_along, print_order, print_same_answers
from lightning_robust.report.prune_robustness import path_sentence
from lightning_robust.report.prune_words import FORMS, ORDERS, PAPER, record_labels, short_names
from lightning_robust.results.names import RESULTS
from lightning_robust.results.prune_record import PruneCurve, PrunedModel, PruneRecord

__all__ = ["print_pruning"]

_ROWS = {
    "importance": "most important kept",
    "reduced_rank": "  reduced-rank regr.",
    "random": "  random kept",
    "smallest_first": "  least important kept",
    "outlier_features": "  outliers zeroed",
    "random_features": "  random zeroed",
}
_SETS = {"reference": "reference:", "shifts": "shifts, mean:"}
_MOST = 4  # models of which everything is printed; of more a row each
_EMPTY = ("", "")
_COMPARED = ("importance", "reduced_rank", "random")  # orders of which each model has a row


@dataclass(frozen=True)
class _Row:
    """A row of the headlines: an order, or without one words alone."""

    label: str
    curve: PruneCurve | None = None
    pruned: tuple[str, str] | None = None
    unbroken: bool = False

    def cells(self, what: str) -> tuple[str, str]:
        """The fraction pruned with its interval."""
        if self.curve is None:
            return self.pruned or _EMPTY
        return (unbroken_cells if self.unbroken else pruned_cells)(self.curve, what)

    def left(self, what: str) -> str:
        """The accuracy there."""
        return left_cell(self.curve, what) if self.curve is not None and not self.unbroken else ""


def print_pruning(record: PruneRecord, folder: Path, console: Console) -> None:
    """Print what `prune` found: for each model the headlines of every order, then what they say together.

    Args:
        record: The pruning.
        folder: Where its files are.
        console: Where to print; 80 characters are enough.
    """
    labels = record_labels(record)
    title = f"{escape(record.data.dataset)}, {record.split} images: what can be pruned for {lost_words(record.points)}"
    console.print(f"\n[bold]{title}[/bold]", highlight=False)
    each = len(record.models) <= _MOST
    if not each:
        _print_compared(record, labels, console)
    for model, label in zip(record.models, labels, strict=True) if each else ():
        _print_model(model, label, console)
    if same_answers_known(record):
        same = f"same answers on {100 * (1 - record.points):g} % of the reference images"
        console.print(f"\n[bold]{same}[/bold] (a control), % of r pruned", highlight=False)
        print_same_answers(record.models, labels, console)
    for sentence in notes(record, _ROWS if each else _COMPARED, each=each):
        console.print(sentence, style="dim", highlight=False, markup=False)
    for heading, told in _told(record, labels):
        console.print(f"\n[bold]{escape(heading)}[/bold]", highlight=False, soft_wrap=True)
        for topic, sentence in told:
            console.print(f"[bold]{topic}:[/bold] {escape(sentence)}", highlight=False)
    for sentence in record.missing:
        console.print(f"Missing: {sentence}", style="bold red", highlight=False, markup=False)
    place = escape(str(folder))
    console.print(
        f"\nEverything: [bold]{place}[/bold] ({RESULTS}, curves.csv, pictures)", highlight=False, soft_wrap=True
    )


def _told(record: PruneRecord, labels: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What is said of each model, or of many together."""
    if len(record.models) > _MOST:
        return [("What this says", many_findings(record, labels))]
    named = zip(record.models, labels, short_names(record.models), strict=True)
    told = [
        (f"{label}: what this says", findings(record, model, name))
        for model, label, name in named
        if model.role == "asked"
    ]
    along = path_sentence(record)
    return [*told, ("Along the path", [("Control", along)])] if along else told


def _print_compared(record: PruneRecord, labels: Sequence[str], console: Console) -> None:
    for order in _COMPARED:
        words = "the finding" if order == "importance" else "a control"
        console.print(f"\n[bold]{ORDERS[order].words}[/bold] ({words})", highlight=False)
        print_order(record.models, labels, order, console)


def _print_model(model: PrunedModel, label: str, console: Console) -> None:
    console.print(f"\n[bold]{escape(label)}[/bold]", highlight=False, soft_wrap=True)
    if label.startswith("…"):
        console.print(f"[dim]{escape(model.name)}[/dim]", highlight=False, soft_wrap=True)
    for sentence in _whole(model):
        console.print(sentence, highlight=False)
    _print_headlines(model, console)
    if model.role == "asked" and model.curve("importance", "raw") is not None:
        console.print("[dim]What is left of the raw head, by % of its directions pruned[/dim]", highlight=False)
        print_along(model, console)


def _whole(model: PrunedModel) -> Iterator[str]:
    """What is counted, and the model as it is; ready for markup."""
    point, er = model.unpruned, robustness_cell(model.unpruned)
    shifts = "" if point.shifts_mean is None else f", mean of shifts {100 * point.shifts_mean:.1f} %"
    null = f"the other {model.null:,} are null space, in no fraction" if model.null else "there is no null space"
    robust = "" if er == DASH else f", effective robustness {er} points"
    yield (
        f"Its head reads {model.rank_raw:,} of {model.d:,} dimensions ({model.rank_centred:,} when centred); {null}. "
        f"Privileged, with more than 10 × the median importance: {model.privileged_raw:,} "
        f"({model.privileged_centred:,})."
    )
    yield f"Unpruned: reference {100 * point.reference:.1f} %{shifts}{robust}."
    if model.near_chance:
        yield "[bold]So near to chance that nothing can be concluded from how much can go.[/bold]"


def _print_headlines(model: PrunedModel, console: Console) -> None:
    """A row for each order: of the raw head with the paper's figure, of the centred one, of features."""
    sets = [what for what in _SETS if what == "reference" or model.unpruned.shifts_mean is not None]
    rows: list[_Row] = []
    for form in (*FORMS, ""):
        curves = [curve for order in _ROWS if (curve := model.curve(order, form)) is not None]
        if curves:
            rows += [_Row("")] if rows else []
            rows += [_Row(f"[dim]{_section(curves[0])}[/dim]"), *(row for one in curves for row in _rows_of(one))]
        if curves and form == "raw" and model.role == "asked":
            mark = "" if model.comparable else " §"
            rows.append(_Row(f"  the paper, ImageNet{mark}", pruned=(percent(PAPER), "at most")))
    groups = []
    for what in sets:
        pruned = aligned([row.cells(what) for row in rows])
        columns = {f"{_SETS[what]}\n% pruned": pruned, "accuracy": [row.left(what) for row in rows]}
        groups.append([(title, _bold(cells, rows)) for title, cells in columns.items()])
    print_fitting(console, _bold([row.label for row in rows], rows), groups)


def _rows_of(curve: PruneCurve) -> Iterator[_Row]:
    """How far it goes, and without a break where that is the best of many tries."""
    yield _Row(_ROWS[curve.order], curve)
    if many_tries(curve):
        indent = "  " if curve.order == "importance" else "    "
        yield _Row(f"{indent}without a break", curve, unbroken=True)


def _bold(cells: Sequence[str], rows: Sequence[_Row]) -> list[str]:
    """The finding stands out."""
    finding = [row.curve is not None and row.curve.order == "importance" and not row.unbroken for row in rows]
    return [f"[bold]{cell}[/bold]" if here else cell for cell, here in zip(cells, finding, strict=True)]


def _section(curve: PruneCurve) -> str:
    return f"{curve.form} head, % of r = {curve.total:,}" if curve.form else f"features, % of d = {curve.total:,}"
