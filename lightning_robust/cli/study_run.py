"""A study's trainings and measurements as tasks in processes of their own; it may be stopped at any moment."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_robust.cli.study_context import StudyContext
from lightning_robust.cli.study_failures import TRAIN, clear_failures, failures_in, note_failure
from lightning_robust.cli.study_models import StudyModel
from lightning_robust.cli.study_steps import measured_by, slug
from lightning_robust.cli.study_train_task import LOGS, TrainTask
from lightning_robust.cli.study_worker import pending_steps
from lightning_robust.cli.task_processes import Task, run_tasks
from lightning_robust.cli.task_progress import TaskProgress
from lightning_robust.errors import UserError
from lightning_robust.results.atomic import atomic_write
from lightning_robust.results.study_record import StudyFailure

__all__ = ["MeasureTask", "noted_steps", "run_study", "study_tasks", "trainings_of"]

_POLL_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class MeasureTask:
    """All measurements of one model and of the path of its finetuned counterpart.

    Attributes:
        study: The study.
        model: Of the study.
        folder: The study's.
        trainings: The runs that make its weights.
    """

    study: StudyContext
    model: StudyModel
    folder: Path
    trainings: tuple[TrainTask, ...]

    epochs = None
    goes_on = False

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.model.name}, measuring"

    @property
    def log(self) -> Path:
        """The file that it prints to."""
        return self.folder / LOGS / f"{self.model.name}-measure.log"

    @property
    def lock(self) -> Path:
        """The file that is locked while a process measures it."""
        return self.log.with_suffix(".lock")

    @property
    def finished(self) -> bool:
        """Whether every weight is there, and nothing is left to measure or failed."""
        if not all(one.finished for one in self.trainings) or self._failures():
            return False
        return not pending_steps(self.model, self.study, self.folder)

    def ready(self, failed: Mapping[str, str]) -> bool:
        """Whether its trainings are done with, well or not.

        Args:
            failed: Why others failed, by their labels.

        Raises:
            UserError: If there is nothing to measure, as its training failed or everything that is left did, or if a
                finetuning was finished before the model that it begins with was trained anew.
        """
        if not all(one.finished or one.label in failed for one in self.trainings):
            return False
        for one in self.trainings:
            if one.finished:
                one.check_begun()
        if not pending_steps(self.model, self.study, self.folder) and not self.finished:
            raise UserError("; ".join(self._failures()) or f"{self.model.name} could not be trained")
        return True

    def command(self) -> list[str]:
        """What measures it, by the study as it was read: the file may have been edited since."""
        config = self.study.config
        copy = self.log.with_name(f"study-{hashlib.sha256(config.text.encode()).hexdigest()[:12]}.yaml")
        with atomic_write(copy) as file:
            file.write(config.text)
        module = "lightning_robust.cli.study_worker"
        return [sys.executable, "-m", module, str(copy), config.name, self.model.name]

    def failure(self, said: str) -> str | None:
        """Note what a process that died was at; None where something is left to measure.

        Args:
            said: How it ended, and what it printed last.
        """
        if pending := pending_steps(self.model, self.study, self.folder):
            step = pending[0]
            found = StudyFailure(model=step.row.model, step=step.measurement, reason=f"{step.row.name}: {said}")
            note_failure(self.folder, slug(step.row), found)
            return None if len(pending) > 1 else found.reason
        return "; ".join(self._failures()) or (None if self.finished else f"{self.model.name} could not be trained")

    def _failures(self) -> list[str]:
        steps = [step for step in noted_steps(self.model, self.study) if step[1] != TRAIN]
        return [f"{one.step} of {one.reason}" for one in failures_in(self.folder, steps)]


def trainings_of(model: StudyModel, folder: Path) -> tuple[TrainTask, ...]:
    """The runs that make a model and its finetuned counterpart, in order.

    Args:
        model: Of the study.
        folder: The study's.
    """
    own = () if model.train is None else (TrainTask(model.name, model.train, folder),)
    if model.finetuned is None:
        return own
    needs = own[0] if own else None
    return (*own, TrainTask(f"{model.name}-finetuned", model.finetuned.training, folder, needs, model.source()))


def noted_steps(model: StudyModel, study: StudyContext) -> list[tuple[str, str]]:
    """Every step of a model of which a failure may be noted: name of the row, or of the trained model, and step.

    Args:
        model: Of the study.
        study: What is measured by.
    """
    rows = model.rows()
    trained = dict.fromkeys(row.model for row in rows)
    steps = [(slug(row), name) for row in rows for name in study.config.measure if measured_by(row, name)]
    return [*((name, TRAIN) for name in trained), *steps]


def study_tasks(models: Sequence[StudyModel], study: StudyContext, folder: Path) -> list[TrainTask | MeasureTask]:
    """The tasks of some models, model by model, so that an early stop leaves whole rows.

    Args:
        models: Of the study.
        study: What is measured by.
        folder: The study's.
    """
    tasks: list[TrainTask | MeasureTask] = []
    for model in models:
        trainings = trainings_of(model, folder)
        tasks += [*trainings, MeasureTask(study, model, folder, trainings)]
    return tasks


def run_study(models: Sequence[StudyModel], study: StudyContext, folder: Path, jobs: int) -> dict[str, str]:
    """Train and measure what is missing; what failed before is tried again.

    Args:
        models: Of the study.
        study: What is measured by.
        folder: The study's.
        jobs: How many processes at a time.

    Returns:
        For each task that failed, by its label, why.

    Raises:
        KeyboardInterrupt: When interrupted, after the processes have ended.
    """
    for model in models:
        clear_failures(folder, noted_steps(model, study))
    tasks = study_tasks(models, study, folder)

    def note(task: Task, said: str) -> None:
        if isinstance(task, TrainTask):
            note_failure(folder, task.model, StudyFailure(model=task.model, step=TRAIN, reason=said))

    with TaskProgress(len(tasks), sum(task.finished for task in tasks), "steps") as progress:
        return run_tasks(tasks, jobs, progress, _POLL_SECONDS, note)
