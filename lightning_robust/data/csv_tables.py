"""CSV tables with a header, read whole: every complaint names the file, the line and the column."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Row", "read_table"]


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        where: File and line, for a complaint.
        cells: What it holds, by column; spaces around a cell are taken off.
    """

    where: str
    cells: dict[str, str]

    def number(self, column: str) -> float:
        """The number in a column, 0 where the cell is empty.

        Raises:
            ValueError: If it is not a number.
        """
        text = self.cells[column]
        try:
            return float(text or 0)
        except ValueError:
            raise ValueError(f"{self.where}, column {column!r}: {text!r} is not a number") from None

    def whole(self, column: str) -> int:
        """The whole number in a column.

        Raises:
            ValueError: If it is not a whole number.
        """
        text = self.cells[column]
        if not text.isdecimal():
            raise ValueError(f"{self.where}, column {column!r}: {text!r} is not a whole number")
        return int(text)


def read_table(path: str | os.PathLike[str], needs: tuple[str, ...] = ()) -> tuple[tuple[str, ...], list[Row]]:
    r"""Read a CSV file in UTF-8 (with or without byte order mark) whose first line names the columns.

    Args:
        path: The file.
        needs: Columns that it has to have.

    Returns:
        The columns in their order and the rows; empty lines are passed over.

    Raises:
        ValueError: If the file is not UTF-8 text, is empty, lacks a column or names one twice, or a row has more or
            fewer cells than the header or spans lines.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = file.write_text("image,dog\na.jpg,1\n")
        >>> columns, rows = read_table(file, needs=("image",))
        >>> columns, rows[0].cells
        (('image', 'dog'), {'image': 'a.jpg', 'dog': '1'})
    """
    path = Path(path)
    rows: list[Row] = []
    before = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)  # not strict, it reads a file that ends within quotation marks
            columns = tuple(name.strip() for name in next(reader, ()))
            _check_header(path, columns, needs)
            before = reader.line_num
            for cells in reader:
                first, before = before + 1, reader.line_num
                if before > first:  # no name or number has a line end in it
                    raise ValueError(
                        f"{path}, line {first}: a quotation mark is opened there and closed in line {before}, so that "
                        "the lines between them would be lost; close it in its line, or take it out"
                    )
                if not any(cell.strip() for cell in cells):
                    continue
                where = f"{path}, line {reader.line_num}"
                if len(cells) != len(columns):
                    raise ValueError(f"{where}: {len(cells)} cells, but the header has {len(columns)} columns")
                rows.append(Row(where, dict(zip(columns, (cell.strip() for cell in cells), strict=True))))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error
    except csv.Error as error:
        raise ValueError(
            f"{path} cannot be read as a CSV file: {error}, in the row that begins in line {before + 1}; a quotation "
            "mark may not be closed there"
        ) from error
    return columns, rows


def _check_header(path: Path, columns: tuple[str, ...], needs: tuple[str, ...]) -> None:
    if not columns:
        raise ValueError(f"{path} is empty; its first line has to name the columns")
    for mark, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and mark in columns[0]:
            raise ValueError(
                f"{path} has {called} between its cells, where commas have to stand; its header is {columns[0]!r}"
            )
    if missing := [name for name in needs if name not in columns]:
        raise ValueError(f"{path} has no column {missing[0]!r}; its header is {','.join(columns)!r}")
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise ValueError(f"{path} has the column {twice[0]!r} twice")
