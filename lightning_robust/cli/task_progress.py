"""Progress of several processes: a line for each on a terminal, a line for each begin and end elsewhere."""

import re
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Shown", "TaskProgress", "last_lines", "share_done"]

_BAR = re.compile(r"Epoch (\d+).*?(\d+)/(\d+) \[")
_TAIL_BYTES, _SHOWN_LINES = 8192, 12


class Shown(Protocol):
    """What is shown of a task; see ``task_processes.Task``."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def log(self) -> Path: ...  # noqa: D102
    @property
    def goes_on(self) -> bool: ...  # noqa: D102
    @property
    def epochs(self) -> int | None: ...  # noqa: D102


class TaskProgress:
    """Bars on stderr while it is a terminal, else plain lines there.

    Args:
        total: All tasks.
        done: Tasks that were finished before.
        what: What they are called together.
    """

    def __init__(self, total: int, done: int, what: str = "runs") -> None:
        self._total, self._done, self._what = total, done, what
        self._since: dict[str, float] = {}
        self._tasks: dict[str, tuple[Any, Shown]] = {}
        self._elsewhere = 0
        self._bars: Any = None
        if sys.stderr.isatty() and done < total:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
                TimeRemainingColumn(elapsed_when_finished=True), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._all = self._bars.add_task(what, total=total, completed=done)

    def __enter__(self) -> "TaskProgress":
        if self._bars is not None:
            self._bars.start()
        if self._done:
            self._say(f"{self._done} of {self._total} {self._what} are finished already")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def started(self, task: Shown) -> None:
        """A task begins, or goes on.

        Args:
            task: The task.
        """
        self._since[task.label] = time.monotonic()
        if self._bars is not None:
            self._tasks[task.label] = (self._bars.add_task(task.label, total=1.0), task)
        else:
            self._say(f"{task.label}: {'goes on' if task.goes_on else 'begun'}")

    def broken_off(self, task: Shown) -> None:
        """A task's process has ended before its end, and another is going to go on.

        Args:
            task: The task.
        """
        self._say(f"{task.label}: broken off, and begun again")
        if self._bars is not None and (found := self._tasks.pop(task.label, None)) is not None:
            self._bars.remove_task(found[0])

    def ended(self, task: Shown, failure: str | None) -> None:
        """A task has ended.

        Args:
            task: The task.
            failure: What it said where it failed.
        """
        self._done += failure is None
        minutes = (time.monotonic() - self._since.pop(task.label, time.monotonic())) / 60
        how = "finished" if failure is None else "failed"
        self._say(f"{task.label}: {how} after {minutes:.1f} minutes, {self._done} of {self._total}")
        if self._bars is not None:
            if (found := self._tasks.pop(task.label, None)) is not None:
                self._bars.remove_task(found[0])
            self._bars.update(self._all, completed=self._done)

    def look(self, elsewhere: int = 0) -> None:
        """Look how far the tasks are.

        Args:
            elsewhere: Tasks that processes of another command do, and that are waited for.
        """
        if elsewhere and not self._elsewhere:
            self._say(f"waiting for {elsewhere} {self._what} that another command's processes are at")
        self._elsewhere = elsewhere
        for bar, task in self._tasks.values():
            if (share := share_done(task.log, task.epochs)) is not None:
                self._bars.update(bar, completed=share)

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
    """The last lines of what a process printed, without its bars.

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
