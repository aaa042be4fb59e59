"""One training of a study as a task: whether it is done, what it waits for, what refuses it, what runs it."""

import sys
from collections.abc import Mapping
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
from lightning_robust.cli.study_models import StudyTraining
from lightning_robust.cli.study_weights import note_weights, refuse_other_weights
from lightning_robust.errors import UserError

__all__ = ["LOGS", "TrainTask"]

LOGS = "logs"
"""Folder below a study's for what its processes print."""


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
        return self.folder / LOGS / f"{self.model}-train.log"

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
