"""`show run` of what another command than `fit` left: its tables and pictures again, by the kind of its record."""

import json
from collections.abc import Callable
from pathlib import Path

from lightning_robust.cli.study_files import RECORD, show_study
from lightning_robust.errors import from_user
from lightning_robust.results.study_record import read_study

__all__ = ["show_measured"]


def show_measured(folder: Path, results: Path) -> bool:
    """Print the tables of a pruning, a compression, an ablation, a diagnosis or a study again, and draw it again.

    Args:
        folder: The run's folder.
        results: Its `results.json`; a study has a `study.json` beside the place of one.

    Returns:
        Whether it was one of these; of anything else, a file that cannot be read too, nothing is shown.

    Raises:
        UserError: If the file is no such record, or a picture cannot be written.
    """
    table = folder / RECORD
    if not results.exists() and table.is_file():
        with from_user(OSError):
            show_study(read_study(table), folder)
        return True
    show = _SHOWN.get(_kind(results))
    if show is None:
        return False
    with from_user(OSError):
        show(folder, results)
    return True


def _kind(results: Path) -> str:
    """What the record says it is; empty where it says nothing."""
    try:
        found = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # the reader of a training's record says what is wrong
        return ""
    kind = found.get("kind") if isinstance(found, dict) else None
    return kind if isinstance(kind, str) else ""


def _pruning(folder: Path, results: Path) -> None:
    from rich.console import Console

    from lightning_robust.report import print_pruning, write_pruning_figures
    from lightning_robust.results.prune_record import read_pruning

    record = read_pruning(results)
    write_pruning_figures(record, folder)
    print_pruning(record, folder, Console())


def _compression(folder: Path, results: Path) -> None:
    from rich.console import Console

    from lightning_robust.report import print_compression, write_compression_figures
    from lightning_robust.results.compress_record import read_compression

    record = read_compression(results)
    write_compression_figures(record, folder)
    print_compression(record, folder, Console())


def _ablation(folder: Path, results: Path) -> None:
    from rich.console import Console

    from lightning_robust.report import print_ablation, write_ablation_figures
    from lightning_robust.results.ablation_record import read_ablation

    record = read_ablation(results)
    write_ablation_figures(record, folder)
    print_ablation(record, folder, Console())


def _diagnosis(folder: Path, results: Path) -> None:
    from rich.console import Console

    from lightning_robust.report import print_diagnosis, write_diagnosis_figure
    from lightning_robust.results.diagnosis_record import read_diagnosis

    record = read_diagnosis(results)
    write_diagnosis_figure(record, folder)
    print_diagnosis(record, folder, Console())


def _calibration(folder: Path, results: Path) -> None:
    from rich.console import Console

    from lightning_robust.report import print_calibration, write_diagnosis_figure
    from lightning_robust.results.diagnosis_record import read_calibration

    record = read_calibration(results)
    write_diagnosis_figure(record, folder)
    print_calibration(record, folder, Console())


_SHOWN: dict[str, Callable[[Path, Path], None]] = {
    "ablation": _ablation,
    "calibration": _calibration,
    "compression": _compression,
    "diagnosis": _diagnosis,
    "pruning": _pruning,
}
