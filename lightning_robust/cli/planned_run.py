"""The folder of a run that a command plans: whether it is what is asked for now, and what was begun in vain."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lightning_robust.cli.run_folder import LAST, ROOT
from lightning_robust.errors import UserError
from lightning_robust.results.names import RESULTS

__all__ = [
    "discard_beginnings",
    "is_being_trained",
    "is_finished",
    "is_resumable",
    "refuse_begun_otherwise",
    "refuse_foreign_folder",
]

# what a run writes before its first checkpoint, half-written files among it
_OF_A_RUN = re.compile(r"config\.yaml|hparams\.yaml|events\.out\.tfevents\..*|signatures\.(csv|png)|steps|\..*\.tmp.*")
_SECONDS_UNTIL_FIRST_LINE = 120.0


def is_finished(folder: Path) -> bool:
    """Whether a run has come to its end.

    Args:
        folder: The run's folder.
    """
    return (folder / RESULTS).is_file()


def is_resumable(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from.

    Args:
        folder: The run's folder.
    """
    return (folder / LAST).is_file()


def is_being_trained(folder: Path) -> bool:
    """Whether a process of this machine is a `fit` of a run.

    Args:
        folder: The run's folder, `checkpoints/<config>/<run>`.

    Returns:
        False also where the system does not tell, which only Linux does.
    """
    whole = folder.resolve()
    return any(_is_fit_of(process, whole) for process in Path("/proc").glob("[0-9]*"))


def _is_fit_of(process: Path, folder: Path) -> bool:
    """By its words and its working directory; not for one that is another user's or has just ended."""
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if "fit" not in words or not {folder.name, f"--run_name={folder.name}"} & set(words):
            return False
        return folder.is_relative_to((process / "cwd").resolve(strict=True) / ROOT)
    except OSError:
        return False


def refuse_foreign_folder(folder: Path, log: Path) -> None:
    """Refuse a folder from which nothing can go on, unless this command began it.

    Args:
        folder: The run's folder.
        log: The file that it prints to, if it was begun.

    Raises:
        UserError: If the folder has no checkpoint, and was not begun before the log's last line or holds what no run
            writes.
    """
    if not folder.is_dir() or is_finished(folder) or any(folder.rglob("*.ckpt")):
        return
    files = list(folder.iterdir())
    strange = [file.name for file in files if not _OF_A_RUN.fullmatch(file.name)]
    begun = min((file.stat().st_mtime for file in files), default=0.0)
    if strange or not log.is_file() or begun > log.stat().st_mtime + _SECONDS_UNTIL_FIRST_LINE:
        raise UserError(
            f"{folder} has no checkpoint to go on from, and "
            + (f"holds {sorted(strange)[0]}, which no run writes" if strange else "another command began it")
            + f": {'move' if strange else 'remove it, or move'} it away, or take another --run_name"
        )


def discard_beginnings(folder: Path, log: Path) -> None:
    """Remove the folder of a run that was broken off before its first checkpoint: nothing can go on from it.

    Args:
        folder: The run's folder.
        log: The file that it prints to.

    Raises:
        UserError: If the folder is not of this command.
    """
    refuse_foreign_folder(folder, log)
    if folder.is_dir() and not any(folder.rglob("*.ckpt")) and not is_finished(folder):
        shutil.rmtree(folder)


def refuse_begun_otherwise(folder: Path, asked: Mapping[str, Any]) -> None:
    """Refuse a run that was begun with other settings than are asked for now.

    Args:
        folder: The run's folder, begun or not.
        asked: The settings that are stated now; what a run has beside them are defaults.

    Raises:
        UserError: If one of them differs in the run's own `config.yaml`; names it.
    """
    file = folder / "config.yaml"
    if not file.is_file():
        return
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {file}: {' '.join(str(error).split())}") from error
    if found is None and not is_resumable(folder):
        return  # killed between making the file and writing it: nothing was begun that could go on
    if difference := _difference(asked, found, ""):
        raise UserError(f"the run in {folder} was begun with {difference}: move it away, or take another --run_name")


def _difference(asked: Any, found: Any, where: str) -> str | None:
    """The first setting that differs, in words; what is only in ``found`` is a default."""
    if isinstance(asked, Mapping) and isinstance(found, Mapping):
        parts = ((asked[key], found.get(key), f"{where}.{key}".lstrip(".")) for key in asked)
    elif isinstance(asked, list) and isinstance(found, list) and len(asked) == len(found):
        parts = ((a, b, f"{where}[{k}]") for k, (a, b) in enumerate(zip(asked, found, strict=True)))
    else:
        same = asked is None and not found
        if where.endswith("class_path"):
            same = _same_class(asked, found)
        same = same or _parsed(asked) == _parsed(found)
        return None if same else f"{where} = {found!r}, and its config has {asked!r} now"
    return next((words for part in parts if (words := _difference(*part)) is not None), None)


def _same_class(asked: Any, found: Any) -> bool:
    """Whether two names are of one class: the short one of a class, or another module of its package that has it."""
    a, b = str(asked).split("."), str(found).split(".")
    return a[-1] == b[-1] and (len(a) == 1 or a[0] == b[0])


def _parsed(value: Any) -> Any:
    """A value as the command line's parser reads it: 8e-3 is a number there, and text in YAML 1.1."""
    if not isinstance(value, str):
        return value
    from jsonargparse import get_loader

    try:
        return get_loader("yaml")(value)
    except yaml.YAMLError:
        return value
