"""Rows of a table as text or of a JSON list, one after the other: where each stands, and its cells by name."""

import csv
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["SEPARATORS", "csv_rows", "json_rows"]

#: What an option can call a separator, which could not stand in a spec.
SEPARATORS: Final = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}

_SHOWN: Final = 5


def csv_rows(file: Path, needs: dict[str, str], separator: str = "tab") -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table in UTF-8 whose first line names the columns.

    A cell in quotation marks may hold line ends. As a mark that is never closed, or by another stray one, would swallow
    rows in the same way, such rows are counted and named in a warning.

    Args:
        file: The table.
        needs: Columns that it has to have, by what they are called in a complaint.
        separator: One of `SEPARATORS` or one character.

    Yields:
        The line and the cells by column; empty lines are passed over.

    Raises:
        ValueError: If it is not such a table, lacks a column, a row has more or fewer cells than the header, or the
            file ends within quotation marks.
    """
    mark = SEPARATORS.get(separator, separator)
    if len(mark) != 1:
        raise ValueError(f"separator must be one of {', '.join(SEPARATORS)} or one character, got {separator!r}")
    columns: list[str] | None = None
    spanning = list[tuple[int, int]]()
    for first, last, cells in _cells(file, mark):
        if columns is None:
            columns = [name.strip() for name in cells]
            _check_header(file, columns, needs, mark)
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise ValueError(f"{file}, line {last}: {len(cells)} cells, but the header has {len(columns)} columns")
        if first < last:
            spanning.append((first, last))
        yield last, dict(zip(columns, cells, strict=True))
    if columns is None:
        _check_header(file, [], needs, mark)
    if spanning:
        _tell(file, spanning)


def _cells(file: Path, mark: str) -> Iterator[tuple[int, int, list[str]]]:
    """First and last line of each row, and its cells.

    `csv` says nothing where a file ends within quotation marks: one line more than the file has tells, which is a row
    of its own unless it lies within them.
    """
    first = 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader, lines = csv.reader(_one_more(text, ended := list[int]()), delimiter=mark), 0
            for cells in reader:
                first, lines = lines + 1, reader.line_num
                if not ended:
                    yield first, lines, cells
                elif first < lines:
                    raise ValueError(
                        f"{file} ends within quotation marks: one is never closed in the row that begins in line "
                        f"{first}"
                    )
                first = lines + 1
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} cannot be read as a table in UTF-8: {error}") from error
    except csv.Error as error:
        raise ValueError(
            f"{file} cannot be read as a table: {error}, in the row that begins in line {first}; a quotation mark may "
            "not be closed there"
        ) from error


def _one_more(text: Iterable[str], ended: list[int]) -> Iterator[str]:
    yield from text
    ended.append(1)
    yield "the end"


def _tell(file: Path, spanning: list[tuple[int, int]]) -> None:
    more = ", …" if len(spanning) > _SHOWN else ""
    shown = ", ".join(f"{first} to {last}" for first, last in spanning[:_SHOWN])
    warnings.warn(
        f"{file}: {len(spanning)} rows have a cell in quotation marks that spans lines (lines {shown}{more}); look "
        "whether it is meant, or a quotation mark is not closed",
        stacklevel=4,
    )


def json_rows(file: Path, needs: dict[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON list, or of JSON lines.

    Args:
        file: In UTF-8.
        needs: Entries that the first object has to have, by what they are called in a complaint.

    Yields:
        The object's number from 1 (its line in JSON lines) and the object.

    Raises:
        ValueError: If it is not JSON of that form, or the first object lacks an entry.
    """
    try:
        with file.open(encoding="utf-8-sig") as text:
            whole = text.read(1) == "["
            text.seek(0)
            rows = json.load(text) if whole else (json.loads(line) for line in text if line.strip())
            for number, row in enumerate(rows, start=1):
                if not isinstance(row, dict):
                    raise ValueError(f"entry {number} is no object")
                if number == 1 and (missing := [name for name in needs.values() if name not in row]):
                    raise ValueError(f"its first object has no entry {missing[0]!r}, but {', '.join(map(repr, row))}")
                yield number, row
    except ValueError as error:  # of JSON and of UTF-8 too
        raise ValueError(f"{file} cannot be read as a JSON list of pairs: {error}") from error


def _check_header(file: Path, columns: list[str], needs: dict[str, str], mark: str) -> None:
    for option, name in needs.items():
        if columns.count(name) != 1:
            raise ValueError(
                f"{file} has {'no column' if name not in columns else 'twice the column'} {name!r} between separators "
                f"{mark!r}; its header is {mark.join(columns)!r} (name the column by {option.split()[0]}=, or the "
                f"separator by separator={', '.join(SEPARATORS)})"
            )
