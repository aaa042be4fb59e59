"""Settings for every test, and how many processes share them."""

import os
import sys
from pathlib import Path

from hypothesis import settings
from jaxtyping import install_import_hook

# No time limit per example: a shared machine is slow at times. Under CI hypothesis derandomises itself.
settings.register_profile("lightning_robust", parent=settings.default, deadline=None)
settings.load_profile("lightning_robust")

# Shapes and types are checked at every call. Not by --jaxtyping-packages, which the processes of xdist never see.
CHECKED = ["lightning_robust.signatures", "lightning_robust.robustness"]
if early := [name for name in CHECKED if name in sys.modules]:
    raise RuntimeError(f"types of {early} cannot be checked: they are imported already.")
install_import_hook(CHECKED, "beartype.beartype")

#: Each process holds torch and its tests' models: two gigabytes.
MOST_WORKERS = 8

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread each, also of processes that tests start; torch is not in yet
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers(config):
    """Every core for the whole suite or a folder; files that are named run in pytest itself, which starts sooner."""
    named = config.option.file_or_dir
    if named and not any(Path(name).is_dir() for name in named):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS) if cores > 1 else 0
