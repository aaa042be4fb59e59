"""What of a study failed, a small file for each step, so that every process and the table know of it."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from lightning_robust.results.atomic import atomic_write
from lightning_robust.results.codec import decode, encode
from lightning_robust.results.study_record import StudyFailure

__all__ = ["TRAIN", "clear_failures", "failure_of", "failures_in", "note_failure"]

#: Name of the step that is no measurement.
TRAIN = "train"
_FOLDER = "failures"


def note_failure(folder: Path, row: str, failure: StudyFailure) -> None:
    """Keep why a step failed, in place of what was kept of it before, without this machine's places.

    Args:
        folder: The study's.
        row: The row as part of a file's name; of a training the run's model.
        failure: What failed.
    """
    file = _file(folder, row, failure.step)
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = replace(failure, reason=_without_places(failure.reason))
    with atomic_write(file) as out:
        out.write(json.dumps(encode(kept), ensure_ascii=False, indent=2) + "\n")


def _without_places(text: str) -> str:
    """A text for others to read: paths below the working directory begin there, those below the home with `~`."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    for place, below, itself in ((str(Path.cwd()), "", "."), (home, "~/", "~")):
        if place != os.sep:
            whole = rf"(?<![\w./~-]){re.escape(place)}"
            text = re.sub(rf"{whole}/(?=[\w.])", below, text)
            text = re.sub(rf"{whole}(?!\w|-|\.\w)", itself, text)
    return text


def failure_of(folder: Path, row: str, step: str) -> StudyFailure | None:
    """Why a step failed; None where nothing is noted.

    Args:
        folder: The study's.
        row: As `note_failure` takes it.
        step: Its name.
    """
    try:
        return decode(StudyFailure, json.loads(_file(folder, row, step).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def failures_in(folder: Path, rows: Iterable[tuple[str, str]]) -> Iterator[StudyFailure]:
    """What is noted of some steps.

    Args:
        folder: The study's.
        rows: Rows and names of steps.
    """
    for row, step in rows:
        if (found := failure_of(folder, row, step)) is not None:
            yield found


def clear_failures(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Forget what is noted of some steps: they are tried again.

    Args:
        folder: The study's.
        rows: Rows and names of steps.
    """
    for row, step in rows:
        _file(folder, row, step).unlink(missing_ok=True)


def _file(folder: Path, row: str, step: str) -> Path:
    return folder / _FOLDER / f"{row}-{step}.json"
