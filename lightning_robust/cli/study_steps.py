"""The steps of a study: which measurement of which row, where its record lies, and what its key is made of."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lightning_robust.cli.planned_run import is_finished
from lightning_robust.cli.run_folder import ROOT
from lightning_robust.cli.study_context import StudyContext
from lightning_robust.cli.study_models import PlannedRow, StudyModel, StudyTraining, path_slug
from lightning_robust.cli.study_weights import weights_digest
from lightning_robust.results.names import RESULTS

__all__ = ["DESCRIPTION", "MeasuredStep", "known_by", "measured_by", "row_training", "slug", "steps_of", "study_folder"]

#: Names of the folder of records, and of the file that says what a record's key is made of.
MEASURED, DESCRIPTION = "measured", "step.json"
_PRUNED: Final = ("zero-shot", "finetuned", "supervised")
_DIGITS: Final = 12


@dataclass(frozen=True)
class MeasuredStep:
    """One measurement of one row.

    Attributes:
        row: The row.
        measurement: `evaluate`, `probe` or `prune`.
        folder: Where its record lies once it is measured.
        description: What its key is made of.
    """

    row: PlannedRow
    measurement: str
    folder: Path
    description: dict[str, Any]

    @property
    def results(self) -> Path:
        """The record's file."""
        return self.folder / RESULTS

    @property
    def finished(self) -> bool:
        """Whether it is measured: a folder appears whole or not at all."""
        return self.results.is_file()


def study_folder(name: str) -> Path:
    """Where everything of a study lies.

    Args:
        name: Of the study.
    """
    return Path(ROOT).absolute() / "study" / name


def slug(row: PlannedRow) -> str:
    """A row's name as part of a file's name.

    Args:
        row: The row.

    Example:
        >>> about = {"family": "a", "labels": {}, "source": "x"}
        >>> slug(PlannedRow(name="a-finetuned, α = 0.5", model="a-finetuned", kind="interpolated", alpha=0.5, **about))
        'a-finetuned-0.5'
    """
    return row.model if row.alpha is None else path_slug(row.model, row.alpha)


def measured_by(row: PlannedRow, measurement: str) -> bool:
    """Whether a row gets a measurement: pruning is for models that are no control and no point inside a path.

    Args:
        row: The row.
        measurement: Its name.
    """
    return measurement != "prune" or row.kind in _PRUNED


def row_training(model: StudyModel, row: PlannedRow) -> StudyTraining | None:
    """The run that makes a row's weights; None for a model that exists.

    Args:
        model: Of the study.
        row: One of its rows.
    """
    if row.alpha is None:
        return model.train
    return None if model.finetuned is None else model.finetuned.training


def steps_of(model: StudyModel, context: StudyContext, folder: Path) -> Iterator[MeasuredStep]:
    """The steps of a model whose weights are there, measurement by measurement.

    A key names the row, the measurement, and everything that its figures depend on: the weights by their files, data
    and protocol, baseline, options, and the measurement's version. What was measured under another key stays.

    Args:
        model: Of the study.
        context: What is measured by.
        folder: The study's.

    Yields:
        Finished ones among them.
    """
    there = [row for row in model.rows() if (run := row_training(model, row)) is None or is_finished(run.folder)]
    for measurement in context.config.measure:
        shared = context.describe(measurement)
        for row in there:
            if measured_by(row, measurement):
                description = {"row": row.name, "weights": known_by(row), **_architecture(row.source), **shared}
                yield MeasuredStep(
                    row, measurement, folder / MEASURED / _key(row, measurement, description), description
                )


def known_by(row: PlannedRow) -> str:
    """What tells a row's weights: files by their bytes, wherever they lie; a model that no file tells by its name.

    Args:
        row: The row.

    Raises:
        OSError: If a file cannot be read.
    """
    return weights_digest(row.source) or row.source


def _architecture(source: str) -> dict[str, str]:
    """Of `ARCHITECTURE@FILE`, whose file does not say what its weights are loaded into."""
    architecture, at, _ = source.partition("@")
    return {"architecture": architecture} if at else {}


def _key(row: PlannedRow, measurement: str, description: dict[str, Any]) -> str:
    parts = {name: value for name, value in description.items() if name != "row"}
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return f"{slug(row)}-{measurement}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"
