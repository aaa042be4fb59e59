"""Progress of several trainings: a line for each on a terminal, a line for each begin and end elsewhere."""

import re
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from lightning_robust.cli.emergence_plan import PlannedRun

__all__ = ["TrainingProgress", "last_lines", "share_done"]

_BAR = re.compile(r"Epoch (\d+).*?(\d+)/(\d+) \[")
_TAIL_BYTES, _SHOWN_LINES = 8192, 12


class TrainingProgress:
    """Bars on stderr while it is a terminal, else plain lines there.

    Args:
        total: All runs.
        done: Runs that were finished before.
    """

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        self._logs: dict[str, tuple[Path, int | None, float]] = {}
        self._tasks: dict[str, Any] = {}
        self._elsewhere = 0
        self._bars: Any = None
        if sys.stderr.isatty() and done < total:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
                TimeRemainingColumn(elapsed_when_finished=True), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._all = self._bars.add_task("runs", total=total, completed=done)

    def __enter__(self) -> "TrainingProgress":
        if self._bars is not None:
            self._bars.start()
        if self._done:
            self._say(f"{self._done} of {self._total} runs are finished already")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def started(self, run: PlannedRun, log: Path) -> None:
        """A run begins, or goes on.

        Args:
            run: The run.
            log: The file that it prints to.
        """
        self._logs[run.label] = (log, _epochs(run.config), time.monotonic())
        if self._bars is not None:
            self._tasks[run.label] = self._bars.add_task(run.label, total=1.0)
        else:
            self._say(f"{run.label}: {'goes on' if run.resumable else 'begun'}")

    def ended(self, run: PlannedRun, failure: str | None) -> None:
        """A run has ended.

        Args:
            run: The run.
            failure: What it said where it failed.
        """
        self._done += failure is None
        _, _, since = self._logs.pop(run.label, (None, None, time.monotonic()))
        took = f"after {(time.monotonic() - since) / 60:.1f} minutes"
        self._say(f"{run.label}: {'finished' if failure is None else 'failed'} {took}, {self._done} of {self._total}")
        if self._bars is not None:
            if (task := self._tasks.pop(run.label, None)) is not None:
                self._bars.remove_task(task)
            self._bars.update(self._all, completed=self._done)

    def look(self, elsewhere: int = 0) -> None:
        """Look how far the runs are.

        Args:
            elsewhere: Runs that processes of another command train, and that are waited for.
        """
        if elsewhere and not self._elsewhere:
            self._say(f"waiting for {elsewhere} runs that another command's processes still train")
        self._elsewhere = elsewhere
        for label, task in self._tasks.items():
            log, epochs, _ = self._logs[label]
            if (share := share_done(log, epochs)) is not None:
                self._bars.update(task, completed=share)

    def _say(self, sentence: str) -> None:
        if self._bars is not None:
            self._bars.console.print(sentence, highlight=False, markup=False)
        else:
            print(sentence, file=sys.stderr, flush=True)


def share_done(log: Path, epochs: int | None) -> float | None:
    """Which part of its batches a run has trained, by the last training bar of tqdm in what it printed.

    Args:
        log: What it printed.
        epochs: How many epochs it has; None where the config does not say.

    Returns:
        In [0, 1]; None where there is no bar yet, or no end is known.
    """
    bars = _BAR.findall(_tail(log))
    if not bars or not epochs:
        return None
    epoch, batch, batches = (int(number) for number in bars[-1])
    return min(1.0, (epoch + batch / max(1, batches)) / epochs)


def last_lines(log: Path) -> str:
    """The last lines of what a run printed, without its bars.

    Args:
        log: What it printed.
    """
    # of a bar that was drawn over and over only the last state is worth showing
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in _tail(log).split("\n")]
    return "\n".join([line for line in lines if line][-_SHOWN_LINES:])


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return text.rpartition("=" * 20)[2]  # of this start


def _epochs(config: Path) -> int | None:
    trainer = yaml.safe_load(config.read_text(encoding="utf-8")).get("trainer") or {}
    found = trainer.get("max_epochs")
    return found if isinstance(found, int) and found > 0 else None
