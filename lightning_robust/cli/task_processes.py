"""Tasks in processes of their own, some at a time; the command that runs them may be stopped at any moment."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lightning_robust.cli.task_progress import TaskProgress, last_lines
from lightning_robust.errors import UserError

__all__ = ["Task", "run_tasks"]

_GRACE_SECONDS = 10.0
#: One thread each: two processes on two cores otherwise spin against each other.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MPLBACKEND": "Agg"}
_NOT_THEIRS = ("LIGHTNING_ROBUST_RUN_FOLDER",)


class Task(Protocol):
    """What one process does.

    Attributes:
        label: What it is called, the only one of that name.
        log: The file that it prints to.
        lock: A file that is locked while a process does it.
        goes_on: Whether it was begun before.
        epochs: How many epochs it trains; None where it trains none, or nobody knows.
        finished: Whether it is done, by whichever process.
    """

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def log(self) -> Path: ...  # noqa: D102
    @property
    def lock(self) -> Path: ...  # noqa: D102
    @property
    def goes_on(self) -> bool: ...  # noqa: D102
    @property
    def epochs(self) -> int | None: ...  # noqa: D102
    @property
    def finished(self) -> bool: ...  # noqa: D102

    def ready(self, failed: Mapping[str, str]) -> bool:
        """Whether it can begin: what it needs is there, or will never be.

        Args:
            failed: Why others failed, by their labels.

        Raises:
            UserError: If it can never be done, as others failed.
        """

    def command(self) -> list[str]:
        """What is started, after what was begun in vain is cleared away. Called while the lock is held.

        Raises:
            UserError: If it cannot be done.
        """

    def failure(self, said: str) -> str | None:
        """What to report of a process that has ended without finishing its task; None where another may go on.

        Args:
            said: How it ended, and the last lines that it printed.
        """


@dataclass
class _Running:
    task: Task
    process: subprocess.Popen[bytes]


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    progress: TaskProgress,
    poll: float = 0.5,
    on_failure: Callable[[Task, str], None] | None = None,
) -> dict[str, str]:
    """Do every task that is not finished.

    A task is locked while a process does it, also when the command that started it was killed: another command waits
    for it instead of doing it twice. When this command is interrupted, or ends by SIGTERM, its processes are ended.

    Args:
        tasks: All tasks, in the order in which they are begun where they can be.
        jobs: How many at a time.
        progress: Is told how far they are; entered by the caller.
        poll: Seconds between two looks at them.
        on_failure: Is told of a task that failed, and why, at once.

    Returns:
        For each task that failed, by its label, how it ended and the last lines that it printed.

    Raises:
        KeyboardInterrupt: When interrupted, after the processes have ended.
    """
    failed: dict[str, str] = {}
    waiting = [task for task in tasks if not task.finished]
    running: list[_Running] = []

    def ended(task: Task, said: str | None) -> None:
        if said is not None:
            failed[task.label] = said
            if on_failure is not None:
                on_failure(task, said)
        progress.ended(task, said)

    with _ended(running):
        while waiting or running:
            _begin(waiting, running, jobs, failed, progress, ended)
            progress.look(elsewhere=len(waiting) if not running else 0)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                said = None if one.process.returncode == 0 and one.task.finished else one.task.failure(_how(one))
                if said is None and not one.task.finished:
                    waiting.insert(0, one.task)
                    progress.broken_off(one.task)
                else:
                    ended(one.task, said)
            if waiting or running:
                time.sleep(poll)
    return failed


def _begin(
    waiting: list[Task],
    running: list[_Running],
    jobs: int,
    failed: Mapping[str, str],
    progress: TaskProgress,
    ended: Callable[[Task, str | None], None],
) -> None:
    """Start what can begin, and take out of those that wait what others have finished or what can never be."""
    for task in list(waiting) if len(running) < jobs else ():
        try:
            process = _start(task) if task.ready(failed) else None
        except UserError as error:
            waiting.remove(task)
            ended(task, str(error))
            continue
        if process is not None:
            waiting.remove(task)
            progress.started(task)
            running.append(_Running(task, process))
        elif task.finished:  # by another command
            waiting.remove(task)
            ended(task, None)
        if len(running) >= jobs:
            break


def _start(task: Task) -> subprocess.Popen[bytes] | None:
    """Start a task; None where another process does it, or has."""
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with _locked(task.lock) as lock:
        if lock is None or task.finished:
            return None
        command = task.command()
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS}
        with task.log.open("ab") as out:
            out.write(f"\n{'=' * 20} {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            out.flush()
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=environment | _ENVIRONMENT,
                # a Ctrl-C goes to this command alone, which ends them
                start_new_session=True, pass_fds=(lock,) if lock >= 0 else (),
            )  # fmt: skip


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """A lock's file descriptor, None where another process holds it; a process that inherits it keeps the lock."""
    if sys.platform == "win32":  # has no such locks, and no orphans to wait for
        yield -1
        return
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _how(one: _Running) -> str:
    status = one.process.returncode
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"{how}; the last lines of {one.task.log}:\n{last_lines(one.task.log)}"


@contextlib.contextmanager
def _ended(running: list[_Running]) -> Iterator[None]:
    """Whatever happens, no process outlives the block; SIGTERM and SIGHUP interrupt it as Ctrl-C does."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            if number := getattr(signal, name, None):
                before[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for one in running:
            if one.process.poll() is None:
                one.process.terminate()
        until = time.monotonic() + _GRACE_SECONDS
        for one in running:
            try:
                one.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    del number, frame
    raise KeyboardInterrupt
