"""The folder of a run: `checkpoints/<config>/<run>/` below the working directory, never used twice by accident."""

import os
from pathlib import Path

from lightning_robust.errors import UserError

ROOT = "checkpoints"
_CHOSEN = "LIGHTNING_ROBUST_RUN_FOLDER"
_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
LAST = "last.ckpt"
_DONE_AT_ONCE = ("probe", "prune", "compress", "ablate", "diagnose")  # their runs do not go on


def new_run_folder(config: str, name: str | None) -> Path:
    """Make the folder of a new run.

    Args:
        config: Name of the config.
        name: The run's name; None takes the next free number.

    Raises:
        UserError: If a run of that name exists, the name has a path in it, or the folder cannot be written.
    """
    parent = Path(ROOT).absolute() / config
    try:
        parent.mkdir(parents=True, exist_ok=True)
        if name is not None:
            return _named(parent, name)
        number = max((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=0)
        while True:  # another process may take a number at the same moment
            number += 1
            folder = parent / f"{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except (PermissionError, NotADirectoryError, OSError) as error:
        raise UserError(
            f"cannot write a run to {parent}: {error.strerror or error}; run from a folder you can write to"
        ) from error


def refuse_unwritable(config: str, name: str | None) -> None:
    """Refuse a name that is taken and a folder that cannot be written, before there is anything to write.

    Raises:
        UserError: If a run of that name exists, the name has a path in it, or the folder cannot be written.
    """
    parent = Path(ROOT).absolute() / config
    if name is not None:
        _check_name(parent, name)
    there = next(folder for folder in (parent, *parent.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"cannot write a run to {parent}: no permission; run from a folder you can write to")


def _named(parent: Path, name: str) -> Path:
    _check_name(parent, name)
    (parent / name).mkdir()
    return parent / name


def _check_name(parent: Path, name: str) -> None:
    if not name or Path(name).name != name or name in (".", ".."):
        raise UserError(f"a run's name is one folder name below {parent}, got {name!r}")
    if (parent / name).exists():
        go_on = "" if parent.name in _DONE_AT_ONCE else ", or go on with it: --ckpt_path last"
        raise UserError(f"the run {name!r} exists already in {parent}: take another --run_name{go_on}")


def old_run_folder(config: str, name: str | None) -> Path:
    """The folder of the run that is to go on: the named one, else the latest number.

    Raises:
        UserError: If there is none, or it holds no `last.ckpt`.
    """
    parent = Path(ROOT).absolute() / config
    if name is not None:
        folder = parent / name
    else:
        numbered = sorted((p for p in parent.glob("*") if p.name.isdecimal()), key=lambda p: int(p.name))
        if not numbered:
            raise UserError(f"--ckpt_path last: there is no numbered run in {parent}; name it with --run_name")
        folder = numbered[-1]
    if not (folder / LAST).is_file():
        raise UserError(f"--ckpt_path last: {folder / LAST} does not exist, so there is nothing to go on from")
    return folder


def check_checkpoint(checkpoint: str) -> None:
    """Refuse a checkpoint that is not there.

    Raises:
        UserError: If there is no such file.
    """
    if not Path(checkpoint).is_file():
        raise UserError(f"there is no checkpoint {checkpoint}: --ckpt_path takes a file, or 'last' for a run's own")


def shared_run_folder(config: str, name: str | None) -> Path:
    """The folder of a new run, the same on all its processes: the first makes it, the others take it over.

    Processes that Lightning starts itself inherit the choice; those of torchrun or SLURM do not, so there a run has to
    be named.

    Args:
        config: Name of the config.
        name: The run's name; None takes the next free number.

    Raises:
        UserError: As `new_run_folder`, and for an unnamed run whose processes were started from outside.
    """
    rank = next((int(os.environ[key]) for key in _RANKS if os.environ.get(key, "").isdecimal()), 0)
    if rank == 0:
        folder = new_run_folder(config, name)
        os.environ[_CHOSEN] = str(folder)
        return folder
    if name is not None:
        return Path(ROOT).absolute() / config / name
    if _CHOSEN in os.environ:
        return Path(os.environ[_CHOSEN])
    raise UserError("give the run a --run_name: processes started from outside cannot agree on the next free number")
