"""Tables that fit the terminal: where it is too narrow for all columns, the rest stand in tables below."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from lightning_robust.report.cells import new_table

__all__ = ["print_fitting"]

_KEPT = 18
"""So many characters of the first column are kept in one line before another column goes into a table below."""

_Column = tuple[str, Sequence[str]]


def print_fitting(
    console: Console,
    labels: Sequence[str],
    groups: Sequence[Sequence[_Column]],
    *,
    last_apart: bool = False,
    apart: Collection[int] = (),
) -> None:
    """Print columns of figures beside a first column of words, in as many tables as the width asks for.

    Args:
        console: Where to print.
        labels: The first column, which stands in every table.
        groups: The other columns in order, each a title and its cells; a group stays in one table where it can.
        last_apart: Whether a line stands above the last row.
        apart: Rows, from 0, above which a line stands.
    """
    above = {*apart, *([len(labels) - 1] if last_apart else [])}
    here: list[_Column] = []
    for group in groups:
        if here and not _fits(console, labels, [*here, *group]):
            console.print(_table(labels, here, above))
            here = []
        for column in group:
            if here and not _fits(console, labels, [*here, column]):
                console.print(_table(labels, here, above))
                here = []
            here.append(column)
    if here:
        console.print(_table(labels, here, above))


def _fits(console: Console, labels: Sequence[str], columns: Sequence[_Column]) -> bool:
    table = _table([label[:_KEPT] for label in labels], columns)
    return Measurement.get(console, console.options.update(width=10_000), table).maximum <= console.width


def _table(labels: Sequence[str], columns: Sequence[_Column], above: Collection[int] = ()) -> Table:
    table = new_table("", *(title for title, _ in columns), left=1)
    for k, label in enumerate(labels):
        if k in above:
            table.add_section()
        table.add_row(label, *(cells[k] for _, cells in columns))
    return table
