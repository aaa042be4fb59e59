"""The process that measures one model of a study: `python -m lightning_robust.cli.study_worker FILE STUDY MODEL`."""

import json
import os
import secrets
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_robust.cli.refusals import refusal
from lightning_robust.cli.study_config import read_study_config
from lightning_robust.cli.study_context import StudyContext, open_context
from lightning_robust.cli.study_failures import failure_of, note_failure
from lightning_robust.cli.study_measure import MEASURES
from lightning_robust.cli.study_models import StudyModel
from lightning_robust.cli.study_steps import DESCRIPTION, MeasuredStep, known_by, slug, steps_of, study_folder
from lightning_robust.errors import UserError
from lightning_robust.results.atomic import atomic_write
from lightning_robust.results.names import RESULTS
from lightning_robust.results.record_file import write_record
from lightning_robust.results.study_record import StudyFailure

__all__ = ["main", "measure_model", "pending_steps"]


def main(arguments: Sequence[str]) -> int:
    """Measure what is missing of one model.

    Args:
        arguments: The study's file, the study's name, the model's name.

    Returns:
        0, also where a step failed, which is noted in the study's folder.

    Raises:
        UserError: If the study cannot be read, or has no such model.
    """
    file, study, name = arguments
    config = read_study_config(file, study)
    model = next((one for one in config.models if one.name == name), None)
    if model is None:
        raise UserError(f"the study {config.file} has no model {name!r}")
    measure_model(model, open_context(config), study_folder(config.name))
    return 0


def pending_steps(model: StudyModel, context: StudyContext, folder: Path) -> list[MeasuredStep]:
    """The steps of a model whose weights are there, that are neither measured nor noted as failed.

    Args:
        model: Of the study.
        context: What is measured by.
        folder: The study's.
    """
    return [
        step
        for step in steps_of(model, context, folder)
        if not step.finished and failure_of(folder, slug(step.row), step.measurement) is None
    ]


def measure_model(model: StudyModel, context: StudyContext, folder: Path) -> None:
    """Measure what is missing of one model; a step that fails is noted, and the others go on.

    Args:
        model: Of the study.
        context: What is measured by.
        folder: The study's.
    """
    pending = pending_steps(model, context, folder)
    for step in pending:  # left by a process that was killed; whoever is here holds the model's lock
        for left in step.folder.parent.glob(f".{step.folder.name}.*.tmp"):
            shutil.rmtree(left)
        if step.folder.is_dir():  # without a record, which somebody has taken away
            shutil.rmtree(step.folder)
    for measurement in context.config.measure:
        steps = [step for step in pending if step.measurement == measurement]
        if not steps or _measured(steps, context, folder, last=len(steps) == 1):
            continue
        for step in steps:  # which of them it was
            if not step.finished:
                _measured([step], context, folder, last=True)


def _measured(steps: Sequence[MeasuredStep], context: StudyContext, folder: Path, *, last: bool) -> bool:
    """Measure some rows in one call; whether it went well. The last try is noted where it did not."""
    names = ", ".join(step.row.name for step in steps)
    print(f"{time.strftime('%H:%M:%S')} {steps[0].measurement}: {names}", flush=True)
    by_row = {step.row.name: step for step in steps}
    try:
        for row, record, seconds in MEASURES[steps[0].measurement](context, [step.row for step in steps]):
            step = by_row[row.name]
            if known_by(row) != step.description["weights"]:
                raise UserError(f"the weights of {row.source} were changed while they were measured")
            keep(step, record, seconds)
    except Exception as error:
        traceback.print_exc()
        if last:
            reason = refusal(error) or f"{type(error).__name__}: {error}"
            for step in steps:
                failure = StudyFailure(model=step.row.model, step=step.measurement, reason=f"{step.row.name}: {reason}")
                note_failure(folder, slug(step.row), failure)
        return False
    return True


def keep(step: MeasuredStep, record: Any, seconds: float) -> None:
    """Write a record into its folder, which appears whole or not at all.

    Args:
        step: The step.
        record: Of its row alone.
        seconds: How long it took.
    """
    temporary = step.folder.with_name(f".{step.folder.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir(parents=True)
    try:
        write_record(record, temporary / RESULTS)
        with atomic_write(temporary / DESCRIPTION) as file:
            file.write(json.dumps({**step.description, "seconds": seconds}, indent=2, ensure_ascii=False) + "\n")
        os.rename(temporary, step.folder)  # noqa: PTH104 - of a folder
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if not step.finished:
            raise


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as refused:
        sys.exit(f"lightning-robust: error: {refused}")
