"""Scripts in processes of their own, forked from one that has imported what they need: that takes the longest."""

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
from multiprocessing import connection, forkserver
from pathlib import Path

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
# for every process that is started by this method; none of them may start a thread when imported
CONTEXT.set_forkserver_preload(["torch", "lightning_robust.callbacks", "lightning_robust.training"])
OFFLINE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Seconds that the others have to end by themselves once one has failed.
GRACE = 20.0


def ready():
    """Have the process to fork from, with settings that are read when modules are imported."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFFLINE.items():
            patch.setenv(name, value)
        forkserver.ensure_running()


def run_script(script, *arguments, processes=1, timeout=300, folder=None, environment=None):
    """Run `python SCRIPT ARGUMENTS…` in processes that know each other as those of torchrun do.

    Returns:
        What each has printed. One that fails is an error here, with what it printed last.
    """
    ready()
    shared = {name: value for name, value in os.environ.items() if name not in RANKS} | OFFLINE | (environment or {})
    if processes > 1:
        shared |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with tempfile.TemporaryDirectory() as kept:
        logs = [Path(kept) / str(rank) for rank in range(processes)]
        started = []
        for rank, log in enumerate(logs):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
            words = [str(script), *map(str, arguments)]
            started.append(
                CONTEXT.Process(target=_run, args=(words, shared | own, str(folder or Path.cwd()), str(log)))
            )
        for process in started:
            process.start()
        _wait(started, timeout)
        printed = [log.read_text(errors="replace") if log.exists() else "" for log in logs]
    assert [process.exitcode for process in started] == [0] * processes, [text[-3000:] for text in printed]
    return printed


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _run(words, environment, folder, log):
    with Path(log).open("wb", buffering=0) as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    multiprocessing.set_start_method(None, force=True)  # the workers of its loaders start as they do elsewhere
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")


def _wait(started, timeout):
    """Until all have ended, or the time is over; then none is left."""
    end = time.monotonic() + timeout
    running = list(started)
    try:
        while running and time.monotonic() < end:
            connection.wait([process.sentinel for process in running], end - time.monotonic())
            running = [process for process in running if process.is_alive()]
            if any(process.exitcode for process in started):
                end = min(end, time.monotonic() + GRACE)
    finally:
        for process in started:
            process.kill()
            process.join()
