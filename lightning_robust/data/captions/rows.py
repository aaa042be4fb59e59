"""Rows of a table as text or of a JSON list, one after the other: where each stands, and its cells by name."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["SEPARATORS", "csv_rows", "json_rows"]

#: What an option can call a separator, which could not stand in a spec.
SEPARATORS: Final = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


def csv_rows(file: Path, needs: dict[str, str], separator: str = "tab") -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table in UTF-8 whose first line names the columns.

    Args:
        file: The table.
        needs: Columns that it has to have, by what they are called in a complaint.
        separator: One of `SEPARATORS` or one character.

    Yields:
        The line and the cells by column; empty lines are passed over.

    Raises:
        ValueError: If it is not such a table, lacks a column, or a row has more or fewer cells than the header.
    """
    mark = SEPARATORS.get(separator, separator)
    if len(mark) != 1:
        raise ValueError(f"separator must be one of {', '.join(SEPARATORS)} or one character, got {separator!r}")
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=mark)
            columns = [name.strip() for name in next(reader, ())]
            _check_header(file, columns, needs, mark)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(columns):
                    raise ValueError(
                        f"{file}, line {reader.line_num}: {len(cells)} cells, but the header has {len(columns)} columns"
                    )
                yield reader.line_num, dict(zip(columns, cells, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} cannot be read as a table in UTF-8: {error}") from error


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
