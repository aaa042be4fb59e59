"""Rows of plain values as a CSV file that a spreadsheet or pandas reads."""

import csv
import os
from collections.abc import Mapping, Sequence

from lightning_robust.results.atomic import atomic_write

__all__ = ["write_table"]


def write_table(path: str | os.PathLike[str], rows: Sequence[Mapping[str, str | int | float | bool | None]]) -> None:
    """Write rows with a header, whole or not at all; numbers with every digit, None as an empty cell.

    Args:
        path: the file; its folder exists.
        rows: cells by column; the columns are those of all rows, in the order of their first appearance.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
