"""Tables of a baseline and of models that it judges, for the terminal and as rows of a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH, new_table

if TYPE_CHECKING:  # the room imports torch, which a reader of result files need not load
    from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
    from lightning_robust.robustness import Baseline
    from lightning_robust.robustness.zoo import ZooEntry

__all__ = ["baseline_rows", "print_baseline", "print_zoo", "robustness_cells", "zoo_rows"]

_WIDE = 110  # columns from which every shift has a column


def print_baseline(baseline: Baseline, console: Console) -> None:
    """Print the lines of a baseline, how far standard models scatter about them, and where they end.

    Args:
        baseline: what is printed.
        console: where.
    """
    words = escape(baseline.description or "a baseline")
    console.print(f"\n[bold]{escape(baseline.name)}[/bold]: {words}", highlight=False)
    table = new_table("shift", "slope", "intercept", "R²", "scatter", "reference range", left=1)
    for name, line in (*baseline.lines.items(), ("mean accuracy", baseline.mean_line)):
        table.add_row(
            escape(name),
            f"{line.slope:.4f}",
            f"{line.intercept:.4f}",
            DASH if isnan(line.r_squared) else f"{line.r_squared:.4f}",
            f"{100 * line.left_out_sd:.1f}",
            f"{100 * line.low:.1f} – {100 * line.high:.1f} %",
        )
    console.print(table)
    count = len(baseline.models)
    of_mean = "mean over the shifts" if baseline.aggregate == "er" else "by the line on the mean accuracy"
    for sentence in (
        f"{count} models, {baseline.scale} scale, x = {baseline.x}; mean effective robustness: {of_mean}.",
        "Scatter: standard deviation of the models' effective robustness, each by the line without it, in accuracy "
        f"points; {100 * baseline.mean_left_out_sd:.1f} in the mean.",
        "A model with a reference accuracy outside a line's range is judged by an extrapolation.",
    ):
        console.print(sentence, highlight=False)
    if baseline.clipped:
        clipped = ", ".join(baseline.clipped)
        console.print(f"Clipped, because an accuracy is 0 or 1: {clipped}.", highlight=False, markup=False)


def print_zoo(entries: Sequence[ZooEntry], console: Console) -> None:
    """Print effective robustness of published zero-shot models, in accuracy points; in a narrow terminal the means.

    Args:
        entries: models, in the order of the rows.
        console: where.
    """
    shifts = list(entries[0].robustness.shifts) if entries and console.width >= _WIDE else []
    table = new_table("model", "reference", "mean", "95 %", *map(escape, shifts), left=1)
    for entry in entries:
        cells = robustness_cells(entry.robustness)[: 2 + len(shifts)]
        table.add_row(escape(entry.accuracies.name), f"{100 * entry.accuracies.reference:.1f}", *cells)
    console.print(table)
    console.print(
        "Effective robustness in accuracy points; 95 %: with a standard model's scatter about the line. † an "
        "extrapolation: the reference accuracy lies outside the standard models'.",
        highlight=False,
    )


def robustness_cells(found: EffectiveRobustness) -> list[str]:
    """Mean, its prediction interval, and each shift, in accuracy points; † marks an extrapolation.

    Args:
        found: of one model.
    """
    prediction = found.mean.prediction
    interval = DASH if prediction is None else f"{100 * prediction.low:+.1f} … {100 * prediction.high:+.1f}"
    return [_points(found.mean), interval, *(_points(shift) for shift in found.shifts.values())]


def _points(found: ShiftRobustness) -> str:
    return f"{100 * found.estimate:+.1f}{'†' if found.extrapolated else ''}"


def baseline_rows(baseline: Baseline) -> list[dict[str, str | float | None]]:
    """The models of a baseline with their accuracies as fractions, for `results.write_table`.

    Args:
        baseline: whose models.
    """
    return [
        {
            "model": model.name,
            "reference": model.reference,
            **{name: model.shifts.get(name) for name in baseline.shifts},
            **{f"matched/{name}": model.matched[name] for name in baseline.shifts if name in model.matched},
            "source": model.source,
        }
        for model in baseline.models
    ]


def zoo_rows(entries: Sequence[ZooEntry]) -> list[dict[str, str | float | bool | None]]:
    """Published models with effective robustness and both intervals as fractions, for `results.write_table`.

    Args:
        entries: models, in the order of the rows.
    """
    rows = []
    for entry in entries:
        row: dict[str, str | float | bool | None] = {
            "model": entry.accuracies.name,
            "reference": entry.accuracies.reference,
            "extrapolated": entry.robustness.mean.extrapolated,
        }
        for name, found in (("mean", entry.robustness.mean), *entry.robustness.shifts.items()):
            row |= {f"{name}/accuracy": found.accuracy, f"{name}/er": found.estimate}
            for kind, interval in (("interval", found.interval), ("prediction", found.prediction)):
                if interval is not None:
                    row |= {f"{name}/{kind}/low": interval.low, f"{name}/{kind}/high": interval.high}
        rows.append(row)
    return rows
