"""Where merged weights go: a folder that appears whole or not at all, and nothing of the user's is replaced."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_robust.errors import UserError
from lightning_robust.report.card import CARD, is_own_card

PATH_RECORD = "path.json"
_OWN = re.compile(r"alpha=[0-9.e-]+(\.head)?\.safetensors|path\.json")


def refuse_taken_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that cannot be written, or holds something that would be lost.

    Args:
        folder: Where a path is to go.
        overwrite: Whether an earlier path may be replaced; other files never are.

    Raises:
        UserError: If it is no folder, holds files, or may not be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; give a folder that does not exist yet")
    inside = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    strange = [name for name in inside if not _OWN.fullmatch(name)]
    if CARD in strange and is_own_card(folder / CARD):
        strange.remove(CARD)
    if strange:
        raise UserError(f"--out {folder} holds other files ({', '.join(strange[:3])}); give a folder of its own")
    if inside and not overwrite:
        raise UserError(f"--out {folder} holds a path already; --overwrite replaces it, or give another folder")
    _refuse_unwritable(folder)


def refuse_taken_file(file: Path, beside: list[Path], overwrite: bool) -> None:
    """Refuse a file that is there already, or cannot be written.

    Args:
        file: Where a soup is to go.
        beside: What would be written beside it.
        overwrite: Whether they may be replaced.

    Raises:
        UserError: If it is a folder, one of the files exists, or the folder may not be written.
    """
    if file.is_dir():
        raise UserError(f"--out {file} is a folder; give the file to write, such as {file / 'soup.safetensors'}")
    there = [path for path in (file, *beside) if path.exists()]
    if there and not overwrite:
        raise UserError(f"{there[0]} exists already; --overwrite replaces it, or give another --out")
    _refuse_unwritable(file)


def refuse_full_disk(place: Path, size: int) -> None:
    """Refuse to begin what does not fit on the disk.

    Args:
        place: Where it is to go.
        size: What it takes, in bytes.

    Raises:
        UserError: If there is less room.
    """
    free = shutil.disk_usage(_nearest(place)).free
    if free < size:
        raise UserError(f"--out {place}: {size / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB are free")


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside `folder` to write to; when the block ends well it becomes `folder`.

    Args:
        folder: Where the files are to be; if it exists, it is replaced as a whole.

    Raises:
        UserError: If its parent cannot be made.
    """
    folder = Path(os.path.realpath(folder))
    staged = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    old = staged.with_suffix(".old")
    try:
        staged.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder.parent}: {error.strerror}") from error
    try:
        yield staged
        try:
            if folder.exists():
                folder.rename(old)
            staged.rename(folder)
        except BaseException:  # Ctrl-C between the two as well
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def card_kept(path: Path) -> str:
    """What is said where a card was not written.

    Args:
        path: The file that stays.
    """
    return (
        f"lightning-robust: warning: {path} was written or edited by somebody, so it stays as it is; a card of these "
        "weights is written where that file is moved away"
    )


def _refuse_unwritable(path: Path) -> None:
    there = _nearest(path.parent)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--out {path} cannot be written: {there} is no folder that you may write to")


def _nearest(path: Path) -> Path:
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())
