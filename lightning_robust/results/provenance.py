"""Where a result comes from: versions, machine, device, code revision, time."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import lightning_robust

__all__ = ["PROVENANCE_SCHEMA", "Provenance", "collect_provenance", "git_revision"]

PROVENANCE_SCHEMA = 1

_DISTRIBUTIONS = ("torch", "torchvision", "lightning", "torchmetrics", "open_clip_torch", "numpy")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What one needs to know of a run's surroundings to trust or repeat its figures.

    Attributes:
        schema_version: version of this record's layout.
        packages: version of each package by distribution name; None for one that is not installed.
        python: version of Python.
        platform: operating system and processor architecture, as ``platform.platform()`` says it.
        device: the device that computed, for example ``"cpu"`` or ``"cuda:0"``.
        threads: threads that torch used for one operator on the CPU.
        git_revision: commit of the project's own checkout, with ``-dirty`` after it when tracked files differ from
            it; None when the code does not run from a checkout.
        created: time of collection, ISO 8601 with the UTC offset.
    """

    schema_version: int = PROVENANCE_SCHEMA
    packages: Mapping[str, str | None]
    python: str
    platform: str
    device: str
    threads: int
    git_revision: str | None
    created: str


def collect_provenance(device: str = "cpu", threads: int | None = None) -> Provenance:
    """Look around: package versions, machine, revision of the checkout, time. Costs one call of git.

    Args:
        device: the device that computes, as text.
        threads: threads per operator; None asks torch, which is then imported.

    Example:
        >>> collect_provenance(device="cpu", threads=2).threads
        2
    """
    if threads is None:
        import torch  # a reader of result files must not have to load it

        threads = torch.get_num_threads()
    packages = {"lightning_robust": lightning_robust.__version__} | {name: _version(name) for name in _DISTRIBUTIONS}
    return Provenance(
        packages=packages,
        python=platform.python_version(),
        platform=platform.platform(),
        device=str(device),
        threads=threads,
        git_revision=git_revision(Path(lightning_robust.__file__).resolve().parent.parent),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def git_revision(root: Path) -> str | None:
    """Commit that is checked out at ``root``, ``-dirty`` appended when tracked files were changed since.

    Args:
        root: the top folder of a checkout. A folder *inside* some checkout is not enough: an installation that lies
            below another project's repository must not report that project's revision.

    Returns:
        The 40 hexadecimal digits, or None without a checkout, without a commit, or without git.

    Example:
        >>> git_revision(Path("/nowhere")) is None
        True
    """
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    # Other git settings of the caller (GIT_DIR inside a hook, say) would point at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
