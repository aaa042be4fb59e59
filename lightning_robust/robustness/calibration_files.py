"""Calibrations of ``diagnose``: by name, from a file, or fitted on a study's table."""

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Final

from lightning_robust.errors import UserError, from_user
from lightning_robust.results import file_sha256
from lightning_robust.results.diagnosis_record import CalibrationRecord, read_calibration
from lightning_robust.results.study_record import read_study
from lightning_robust.robustness.calibration_checks import calibration_fault

__all__ = ["SHIPPING", "STUDY_FILE", "find_table", "is_study", "load_calibration", "shipped_calibrations"]

STUDY_FILE: Final = "study.json"
"""What ``study`` writes its table to."""
SHIPPING: Final = ("scenes",)
"""Names that a calibration may ship under."""
_MAKE: Final = "make a table with `lightning-robust study --config CONFIG` and give its folder: --study FOLDER"


def shipped_calibrations() -> tuple[str, ...]:
    """Names of the calibrations that ship with this installation."""
    return tuple(name for name in SHIPPING if _shipped(name).is_file())


def find_table(name: str | os.PathLike[str]) -> Path:
    """The file that a word stands for: a study's table or a calibration.

    Args:
        name: the name of a calibration that ships, a study's folder, its ``study.json``, or a file that
            ``diagnose --save`` wrote.

    Returns:
        The file.

    Raises:
        UserError: if there is no such table; the sentence says how to make one.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "study.json").write_text("{}")
        >>> find_table(folder).name
        'study.json'
    """
    if str(name) in SHIPPING and not Path(name).exists():
        shipped = _shipped(str(name))
        if shipped.is_file():
            return shipped
        raise UserError(
            f"this installation ships no calibration {str(name)!r}: {_MAKE}; `diagnose --study FOLDER --save FILE` "
            "keeps it"
        )
    path = Path(name)
    if path.is_dir():
        for file in (path / STUDY_FILE, path / "results.json"):
            if file.is_file():
                return file
        raise UserError(f"{path} holds no {STUDY_FILE}: `lightning-robust study` writes it there when models are done")
    if path.is_file():
        return path
    ship = shipped_calibrations()
    there = f"what ships is {', '.join(ship)}" if ship else "none ships"
    raise UserError(f"no study {str(name)!r}: there is no such folder or file, and {there}; {_MAKE}")


def load_calibration(
    name: str | os.PathLike[str], *, seed: int = 0, level: float = 0.9
) -> tuple[CalibrationRecord, str]:
    """Load a calibration, or fit one on a study's table.

    Args:
        name: as `find_table` takes it.
        seed: of the intervals of its skill, where it is fitted here.
        level: nominal coverage of its prediction intervals, where it is fitted here.

    Returns:
        The calibration, and SHA-256 of the file that it came from.

    Raises:
        UserError: if there is no such table, the file is neither or damaged, or no prediction can be made from it.
    """
    file = find_table(name)
    kind = _kind(file)
    if kind == "study":
        from lightning_robust.robustness.diagnosis import fit_calibration

        with from_user(ValueError):
            return fit_calibration(read_study(file), level=level, seed=seed), file_sha256(file)
    if kind not in ("calibration", ""):
        raise UserError(
            f"{file} is a record of {kind!r}, not a study's table or a calibration: --study takes a folder of `study`, "
            "its study.json, or a file of `diagnose --save`"
        )
    calibration = read_calibration(file)
    if fault := calibration_fault(calibration):
        raise UserError(f"{file} is no whole calibration: {fault}; `diagnose --study FOLDER --save FILE` makes one")
    return calibration, file_sha256(file)


def is_study(name: str | os.PathLike[str]) -> bool:
    """Whether a word stands for a study's table, from which a calibration is fitted, and not for a calibration.

    Args:
        name: as `find_table` takes it.

    Raises:
        UserError: if there is no such table.
    """
    return _kind(find_table(name)) == "study"


def _shipped(name: str) -> Path:
    return Path(str(files("lightning_robust.robustness") / "calibrations" / f"{name}.json"))


def _kind(file: Path) -> str:
    """What a record says it is; empty where it says nothing, which the reader of calibrations then tells."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    kind = found.get("kind") if isinstance(found, dict) else None
    return kind if isinstance(kind, str) else ""
