"""``signatures.csv``: every figure that was logged in a run, one row each, appended as training goes.

The columns are ``epoch,step,tag,value``, always. A row counts once its line is complete: a run that was killed while
writing leaves at most one unfinished line, which readers ignore and the next append removes.
"""

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightning_robust.errors import UserError
from lightning_robust.results.atomic import atomic_write

__all__ = ["CURVE_COLUMNS", "CurveFile", "CurveRow", "read_curves"]

CURVE_COLUMNS = ("epoch", "step", "tag", "value")
_HEADER = ",".join(CURVE_COLUMNS) + "\n"


@dataclass(frozen=True)
class CurveRow:
    """One logged figure.

    Attributes:
        epoch: epochs of training completed when it was measured; 0 is before training.
        step: optimiser steps taken when it was measured.
        tag: what was measured, where, as the loggers name it.
        value: the figure, NaN where it is not defined.

    Raises:
        ValueError: a negative epoch or step, an empty tag, or one with a line break.
    """

    epoch: int
    step: int
    tag: str
    value: float

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.step < 0:
            raise ValueError(f"a curve row needs epoch and step of at least 0, got {self.epoch} and {self.step}")
        if not self.tag or "\n" in self.tag or "\r" in self.tag:
            raise ValueError(f"a curve's tag is one line of text that is not empty, got {self.tag!r}")


class CurveFile:
    """Append-only writer of ``signatures.csv``; one process writes one file.

    Args:
        path: the file; it is created with the first append, its folder must exist.

    Example:
        >>> import tempfile
        >>> curves = CurveFile(Path(tempfile.mkdtemp()) / "signatures.csv")
        >>> curves.append([CurveRow(0, 0, "kurtosis/head", 2.5), CurveRow(1, 10, "kurtosis/head", 2.75)])
        >>> curves.truncate_after(step=5)
        >>> read_curves(curves.path)
        (CurveRow(epoch=0, step=0, tag='kurtosis/head', value=2.5),)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def append(self, rows: Iterable[CurveRow]) -> None:
        """Add rows at the end in one write, after removing an unfinished last line.

        Raises:
            UserError: the file that is there has other columns.
            FileNotFoundError: its folder does not exist.
        """
        lines = "".join(_line(row) for row in rows)
        with self.path.open("a+b") as file:
            end = _end_of_complete_lines(file, self.path)
            file.truncate(end)
            file.write(((_HEADER if end == 0 else "") + lines).encode())
            file.flush()
            os.fsync(file.fileno())

    def truncate_after(self, step: int) -> None:
        """Drop the rows of later steps than ``step``, for resuming from a checkpoint of that step; keep the others.

        The file is rewritten atomically. Without a file nothing happens.

        Raises:
            UserError: the file cannot be read as curves.
        """
        if not self.path.exists():
            return
        kept = [row for row in read_curves(self.path) if row.step <= step]
        with atomic_write(self.path) as file:
            file.write(_HEADER + "".join(_line(row) for row in kept))


def read_curves(path: str | os.PathLike[str]) -> tuple[CurveRow, ...]:
    """Read every complete row of a curve file, in the order in which they were written.

    Args:
        path: a ``signatures.csv``.

    Raises:
        UserError: there is no such file, its first line is not ``epoch,step,tag,value``, or a row does not have an
            epoch, a step, a tag and a number; the message names the line.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"no curve file at {path}: a run writes its signatures.csv there") from None
    try:
        text = content[: content.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a curve file: it is not text") from None
    if not text:
        return ()
    if not text.startswith(_HEADER):
        raise UserError(f"{path} is not a curve file: its first line has to be {_HEADER.strip()}")
    return tuple(_parse(text[len(_HEADER) :], path))


def _parse(text: str, path: str | os.PathLike[str]) -> Iterator[CurveRow]:
    for number, fields in enumerate(csv.reader(io.StringIO(text, newline="")), start=2):
        try:
            epoch, step, tag, value = fields
            yield CurveRow(int(epoch), int(step), tag, float(value))
        except ValueError:
            shown = ",".join(fields)
            raise UserError(f"line {number} of {path} is no epoch, step, tag and number: {shown!r}") from None


def _line(row: CurveRow) -> str:
    out = io.StringIO()
    value = float(row.value)
    csv.writer(out, lineterminator="\n").writerow([row.epoch, row.step, row.tag, "nan" if math.isnan(value) else value])
    return out.getvalue()


def _end_of_complete_lines(file: io.BufferedRandom, path: Path) -> int:
    """Position after the last line break, 0 for a file without a complete line; refuse a foreign first line."""
    file.seek(0)
    first = file.readline()
    if not first.endswith(b"\n"):
        if not _HEADER.encode().startswith(first):
            raise UserError(f"{path} is not a curve file, so nothing was added to it")
        return 0
    if first != _HEADER.encode():
        raise UserError(f"{path} is not a curve file, so nothing was added to it: its first line is {first[:60]!r}")
    return _last_break(file)


def _last_break(file: io.BufferedRandom, block: int = 4096) -> int:
    """Position after the last line break, looked for from the end so that appending stays cheap."""
    position = file.seek(0, os.SEEK_END)
    while position > 0:
        start = max(0, position - block)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
