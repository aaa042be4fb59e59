"""A study's trainings and measurements as tasks in processes of their own; it may be stopped at any moment."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_robust.cli.planned_run import (
    discard_beginnings,
    is_being_trained,
    is_finished,
    is_resumable,
    refuse_begun_otherwise,
    refuse_foreign_folder,
)
from lightning_robust.cli.study_context import StudyContext
from lightning_robust.cli.study_failures import TRAIN, clear_failures, failures_in, note_failure
from lightning_robust.cli.study_models import StudyModel, StudyTraining
from lightning_robust.cli.study_steps import measured_by, slug
from lightning_robust.cli.study_weights import note_weights, refuse_other_weights
from lightning_robust.cli.study_worker import pending_steps
from lightning_robust.cli.task_processes import Task, run_tasks
from lightning_robust.cli.task_progress import TaskProgress
from lightning_robust.errors import UserError
from lightning_robust.results.atomic import atomic_write
from lightning_robust.results.study_record import StudyFailure

__all__ = ["MeasureTask", "TrainTask", "noted_steps", "run_study", "study_tasks", "trainings_of"]

_POLL_SECONDS = 0.5
_LOGS = "logs"


@dataclass(frozen=True, eq=False)
class TrainTask:
    """One run of `fit`.

    Attributes:
        model: Name of the study's model that it makes; `…-finetuned` for a counterpart.
        training: The run.
        folder: The study's.
        needs: The run that makes what this one begins with, or None.
        begins_with: The model that a finetuning begins with, as `evaluate --model` takes it.
    """

    model: str
    training: StudyTraining
    folder: Path
    needs: "TrainTask | None" = None
    begins_with: str | None = None

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.model}, training"

    @property
    def log(self) -> Path:
        """The file that it prints to."""
        return self.folder / _LOGS / f"{self.model}-train.log"

    @property
    def lock(self) -> Path:
        """The file that is locked while a process trains it."""
        return self.log.with_suffix(".lock")

    @property
    def goes_on(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return is_resumable(self.training.folder)

    @property
    def epochs(self) -> int | None:
        """How many epochs it trains; None where its config does not say."""
        found = str((self.training.settings().get("trainer") or {}).get("max_epochs"))
        return int(found) if found.isdecimal() else None

    @property
    def finished(self) -> bool:
        """Whether it has run to its end."""
        return is_finished(self.training.folder)

    def ready(self, failed: Mapping[str, str]) -> bool:
        """Whether what it begins with is trained, and no process by hand is at it.

        Args:
            failed: Why others failed, by their labels.

        Raises:
            UserError: If that failed.
        """
        if self.needs is not None and not self.needs.finished:
            if self.needs.label in failed:
                raise UserError(f"what it begins with could not be had: {self.needs.label} failed")
            return False
        return not self._elsewhere

    def check(self) -> None:
        """Refuse a run that is in the way.

        Raises:
            UserError: As `check_begun` and `check_folder`.
        """
        self.check_begun()
        self.check_folder()

    def check_begun(self) -> None:
        """Refuse a run that was begun otherwise.

        Raises:
            UserError: If its settings, or the weights that it began with, are others.
        """
        refuse_begun_otherwise(self.training.folder, self.training.settings())
        if self.begins_with is not None:
            refuse_other_weights(self.training.folder, self._note, self.begins_with)

    def check_folder(self) -> None:
        """Refuse a folder from which nothing can go on, and that may not be removed.

        Raises:
            UserError: If another command began it, or it holds what no run writes.
        """
        if not self._elsewhere:
            refuse_foreign_folder(self.training.folder, self.log)

    def command(self) -> list[str]:
        """What trains it, after a folder that was begun in vain is removed.

        Raises:
            UserError: As `check`.
        """
        self.check()
        discard_beginnings(self.training.folder, self.log)
        go_on = ["--ckpt_path", "last"] if self.goes_on else []
        if self.begins_with is not None and not go_on:
            note_weights(self._note, self.begins_with)
        return [sys.executable, "-m", "lightning_robust", "fit", *self.training.arguments(), *go_on]

    def failure(self, said: str) -> str:
        """It has failed wherever it ends without results."""
        return said

    @property
    def _note(self) -> Path:
        return self.log.with_suffix(".weights")

    @property
    def _elsewhere(self) -> bool:
        """Whether a process is at it that holds no lock, such as a `fit` by hand: it is waited for."""
        return self.training.folder.is_dir() and not self.finished and is_being_trained(self.training.folder)


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
        return self.folder / _LOGS / f"{self.model.name}-measure.log"

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
