"""A study's table as files: `study.json`, `study.csv` for a spreadsheet, `study.parquet` for pandas."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lightning_robust.results import atomic_path, write_table
from lightning_robust.results.study_record import StudyRecord, write_study

__all__ = ["CSV", "PARQUET", "RECORD", "show_study", "study_columns", "write_study_files"]

RECORD, CSV, PARQUET = "study.json", "study.csv", "study.parquet"
_TEXTS: Final = ("name", "model", "family", "kind", "checkpoint_hash")


def study_columns(record: StudyRecord) -> list[dict[str, str | float | None]]:
    """The table: a mapping of cells for each row, all with the same columns.

    Columns are `name`, `model`, `family`, `kind`, `alpha`, `label/<name>`, `checkpoint_hash`, every figure by its tag
    and `seconds/<step>`; None where a row has no such cell, NaN where a figure is not defined.

    Args:
        record: The study.
    """
    labels = list(dict.fromkeys(name for row in record.rows for name in row.labels))
    tags = list(dict.fromkeys(tag for row in record.rows for tag in row.figures))
    steps = list(dict.fromkeys(step for row in record.rows for step in row.seconds))
    return [
        {
            "name": row.name, "model": row.model, "family": row.family, "kind": row.kind, "alpha": row.alpha,
            **{f"label/{name}": row.labels.get(name) for name in labels},
            "checkpoint_hash": row.checkpoint_hash,
            **{tag: row.figures.get(tag) for tag in tags},
            **{f"seconds/{step}": row.seconds.get(step) for step in steps},
        }
        for row in record.rows
    ]  # fmt: skip


def write_study_files(record: StudyRecord, folder: Path) -> None:
    """Write the three files, each whole or not at all.

    Args:
        record: The study.
        folder: Its folder, which exists.
    """
    rows = study_columns(record)
    write_study(record, folder / RECORD)
    write_table(folder / CSV, rows)
    _write_parquet(rows, folder / PARQUET)


def show_study(record: StudyRecord, folder: Path) -> None:
    """Draw a study's pictures, write its correlations and print its tables.

    Args:
        record: The study.
        folder: Its folder, which exists.
    """
    from rich.console import Console

    from lightning_robust.report import print_study, write_study_figures
    from lightning_robust.robustness.study_correlations import study_correlations

    correlations = study_correlations(record)  # takes a while: its intervals are bootstrapped
    write_study_figures(record, folder, correlations)
    print_study(record, folder, Console(), correlations)


def _write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    columns = {
        name: pyarrow.array([row[name] for row in rows], pyarrow.string() if _is_text(name) else pyarrow.float64())
        for name in (rows[0] if rows else ())
    }
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary)


def _is_text(column: str) -> bool:
    return column in _TEXTS or column.startswith("label/")
