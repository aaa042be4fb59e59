"""Training the runs of a comparison in processes of their own, some at a time; it may be stopped at any moment."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_robust.cli.emergence_plan import PlannedRun
from lightning_robust.cli.emergence_progress import TrainingProgress, last_lines

__all__ = ["train_runs"]

_POLL_SECONDS, _GRACE_SECONDS = 0.5, 10.0
#: One thread each: two runs on two cores otherwise spin against each other.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "MPLBACKEND": "Agg"}
_NOT_THEIRS = ("LIGHTNING_ROBUST_RUN_FOLDER",)


@dataclass
class _Training:
    run: PlannedRun
    process: subprocess.Popen[bytes]
    log: Path
    started: float


def train_runs(runs: Sequence[PlannedRun], jobs: int, logs: Path) -> dict[str, str]:
    """Train every run that is not finished; one that was broken off goes on from its last checkpoint.

    A run is locked while a process trains it, also when the command that started it was killed: another command waits
    for it instead of training it twice. When this command is interrupted, or ends by SIGTERM, its processes are ended.

    Args:
        runs: All runs.
        jobs: How many at a time.
        logs: Folder of what they print.

    Returns:
        For each run that failed, by its label, the last lines that it printed.

    Raises:
        KeyboardInterrupt: When interrupted, after the processes have ended.
    """
    failed: dict[str, str] = {}
    waiting = [run for run in runs if not run.finished]
    running: list[_Training] = []
    with TrainingProgress(len(runs), len(runs) - len(waiting)) as progress, _ended(running):
        while waiting or running:
            for run in list(waiting) if len(running) < jobs else ():
                started = _start(run, logs)
                if started is not None or run.finished:
                    waiting.remove(run)
                if started is not None:
                    progress.started(run, started.log)
                    running.append(started)
                elif run.finished:  # by another command
                    progress.ended(run, None)
                if len(running) >= jobs:
                    break
            for training in [one for one in running if one.process.poll() is not None]:
                running.remove(training)
                said = _failure(training)
                if said is not None:
                    failed[training.run.label] = said
                progress.ended(training.run, said)
            progress.look(elsewhere=len(waiting) if not running else 0)
            if waiting or running:
                time.sleep(_POLL_SECONDS)
    return failed


def _start(run: PlannedRun, logs: Path) -> _Training | None:
    """Start a run; None where another process trains it, or has."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / run.log
    with _locked(log.with_name(f"{run.variant}-seed{run.seed}.lock")) as lock:
        if lock is None or run.finished:
            return None
        run.discard_beginnings(log)
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS}
        with log.open("ab") as out:
            out.write(f"\n{'=' * 20} {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            out.flush()
            process = subprocess.Popen(
                run.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=environment | _ENVIRONMENT,
                # a Ctrl-C goes to this command alone, which ends them
                start_new_session=True, pass_fds=(lock,) if lock >= 0 else (),
            )  # fmt: skip
    return _Training(run, process, log, time.monotonic())


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


def _failure(training: _Training) -> str | None:
    """Why a run that has ended is not finished, or None."""
    status = training.process.returncode
    if status == 0 and training.run.finished:
        return None
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"{how}; the last lines of {training.log}:\n{last_lines(training.log)}"


@contextlib.contextmanager
def _ended(running: list[_Training]) -> Iterator[None]:
    """Whatever happens, no process outlives the block; SIGTERM and SIGHUP interrupt it as Ctrl-C does."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            if number := getattr(signal, name, None):
                before[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for training in running:
            if training.process.poll() is None:
                training.process.terminate()
        until = time.monotonic() + _GRACE_SECONDS
        for training in running:
            try:
                training.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                training.process.kill()
                training.process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    del number, frame
    raise KeyboardInterrupt
