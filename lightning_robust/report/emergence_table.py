"""The tables of a comparison of pretrainings: last values, onsets, and rank correlations with robustness.

Each table takes the fullest form that the terminal has room for, and is parted by variants where even the shortest is
too wide, so that no label and no figure is ever cut.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from lightning_robust.report.cells import new_table
from lightning_robust.report.emergence_cells import Form, TablePart, table_parts, thousands
from lightning_robust.report.emergence_shown import shown_figures
from lightning_robust.results.emergence_record import EmergenceRecord

__all__ = ["emergence_rows", "print_emergence", "thousands"]

_HEAD = 10  # columns of a heading before it takes another line


def emergence_rows(record: EmergenceRecord) -> list[dict[str, str | int | float | None]]:
    """Every point as a row with all its figures, for `results.write_table`.

    Args:
        record: The comparison.
    """
    rows: list[dict[str, str | int | float | None]] = []
    for run in record.runs:
        for point in run.points:
            rows.append({"variant": run.variant, "seed": run.seed, "step": point.step, "images": point.images})
            rows[-1] |= {tag: None if math.isnan(value) else value for tag, value in point.figures.items()}
    return rows


def print_emergence(record: EmergenceRecord, folder: Path, console: Console) -> None:
    """Print what the comparison found.

    Args:
        record: Summarised, see `emergence_summary.summarised`.
        folder: Where the files are.
        console: Where to print.
    """
    seeds = ", ".join(str(seed) for seed in record.seeds)
    count = f"seed {seeds}" if len(record.seeds) == 1 else f"seeds {seeds}"
    console.print(f"\n[bold]Pretraining, watched[/bold]: {count}; {_span(record)}", highlight=False)
    for part in table_parts(record, shown_figures(record.runs)):
        form, tables = _fitting(part, console)
        console.print(f"\n[bold]{part.title}[/bold]", highlight=False)
        for table in tables:
            console.print(table)
        console.print(part.note(form), highlight=False, markup=False)
    for name, why in record.missing.items():
        console.print(f"[bold red]{escape(name)} is missing[/bold red]: {escape(why)}", highlight=False)
    console.print(
        f"\nEvery point, and the pictures: [bold]{escape(str(folder))}[/bold]", highlight=False, soft_wrap=True
    )


def _span(record: EmergenceRecord) -> str:
    points = [len(run.points) for run in record.runs]
    images = max(run.points[-1].images for run in record.runs)
    low, high = min(points), max(points)
    return f"{low if low == high else f'{low} to {high}'} points of each run, up to {images:,} images seen"


def _fitting(part: TablePart, console: Console) -> tuple[Form, list[Table]]:
    """The fullest form that the terminal has room for, in as few tables as it has room for."""
    columns = range(len(part.columns))
    for form in part.forms:
        table = _table(part, form, columns)
        if _width(table, console) <= console.width:
            return form, [table]
    tables, first = [], 0
    while first < len(columns):
        # as many columns as fit, but one at least
        last = first + 1
        while last < len(columns) and _width(_table(part, form, columns[first : last + 1]), console) <= console.width:
            last += 1
        tables.append(_table(part, form, columns[first:last]))
        first = last
    return form, tables


def _table(part: TablePart, form: Form, columns: Sequence[int]) -> Table:
    table = new_table("", *(escape(_heading(part.columns[k])) for k in columns), left=1)
    if form is Form.SHORT:
        table.padding = (0, 0)
    for label, cells in part.rows(form):
        table.add_row(escape(label), *(cells[k] for k in columns))
    return table


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(width=10_000), table).maximum


def _heading(words: str) -> str:
    """A heading in short lines, parted between words."""
    lines = [""]
    for word in words.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(longer) > _HEAD:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)
