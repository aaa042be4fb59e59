"""Training the runs of a comparison in processes of their own, some at a time; it may be stopped at any moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lightning_robust.cli.emergence_plan import PlannedRun
from lightning_robust.cli.task_processes import run_tasks
from lightning_robust.cli.task_progress import TaskProgress

__all__ = ["RunTask", "train_runs"]

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class RunTask:
    """A run of a comparison as a task of a process of its own.

    Attributes:
        run: The run.
        logs: Folder of what the trainings print.
    """

    run: PlannedRun
    logs: Path

    @property
    def label(self) -> str:
        """What it is called."""
        return self.run.label

    @property
    def log(self) -> Path:
        """The file that it prints to."""
        return self.logs / self.run.log

    @property
    def lock(self) -> Path:
        """The file that is locked while a process trains it."""
        return self.log.with_name(f"{self.run.variant}-seed{self.run.seed}.lock")

    @property
    def goes_on(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.run.resumable

    @property
    def epochs(self) -> int | None:
        """How many epochs it trains; None where its config does not say."""
        trainer = yaml.safe_load(self.run.config.read_text(encoding="utf-8")).get("trainer") or {}
        found = trainer.get("max_epochs")
        return found if isinstance(found, int) and found > 0 else None

    @property
    def finished(self) -> bool:
        """Whether it has run to its end."""
        return self.run.finished

    def ready(self, failed: Mapping[str, str]) -> bool:
        """It needs no other."""
        del failed
        return True

    def command(self) -> list[str]:
        """What trains it, after a folder that was begun in vain is removed.

        Raises:
            UserError: If the folder is not of this command.
        """
        self.run.discard_beginnings(self.log)
        return self.run.command()

    def failure(self, said: str) -> str:
        """It has failed wherever it ends without results."""
        return said


def train_runs(runs: Sequence[PlannedRun], jobs: int, logs: Path) -> dict[str, str]:
    """Train every run that is not finished; one that was broken off goes on from its last checkpoint.

    Args:
        runs: All runs.
        jobs: How many at a time.
        logs: Folder of what they print.

    Returns:
        For each run that failed, by its label, the last lines that it printed.

    Raises:
        KeyboardInterrupt: When interrupted, after the processes have ended.
    """
    tasks = [RunTask(run, logs) for run in runs]
    with TaskProgress(len(runs), sum(run.finished for run in runs)) as progress:
        return run_tasks(tasks, jobs, progress, _POLL_SECONDS)
