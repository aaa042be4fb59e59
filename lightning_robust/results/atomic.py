"""Writing a file so that a reader, or a run that was killed, never sees half of it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, TextIO, overload

__all__ = ["atomic_path", "atomic_write"]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a temporary file beside ``path``; when the block ends well it becomes ``path`` in one step.

    For writers that want a file name (safetensors, matplotlib, ``torch.save``). The temporary name keeps the suffix
    and begins with a dot. The file is flushed to disk before it is renamed. When the block raises it is removed and
    whatever stood at ``path`` before is untouched. A symbolic link is followed, not replaced.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        The path that the block has to write to.

    Raises:
        FileNotFoundError: the folder does not exist, or the block wrote nothing to the path that it was given.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: its folder {target.parent} does not exist")
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
    try:
        yield temporary
        if not temporary.is_file():
            raise FileNotFoundError(f"nothing was written to {temporary}, so {path} was left as it was")
        _flush_to_disk(temporary)
        temporary.replace(target)
        _flush_to_disk(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@overload
def atomic_write(path: str | os.PathLike[str], mode: Literal["w"] = "w") -> AbstractContextManager[TextIO]: ...
@overload
def atomic_write(path: str | os.PathLike[str], mode: Literal["wb"]) -> AbstractContextManager[BinaryIO]: ...
def atomic_write(path: str | os.PathLike[str], mode: Literal["w", "wb"] = "w") -> AbstractContextManager[Any]:
    r"""Open ``path`` for writing, text (UTF-8, ``\n``) or bytes, such that it appears whole or not at all.

    Args:
        path: the file to write; its folder must exist.
        mode: ``"w"`` for text, ``"wb"`` for bytes.

    Returns:
        A context manager that gives the open file.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: another mode.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_write(target) as file:
        ...     _ = file.write("whole")
        >>> target.read_text()
        'whole'
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"atomic_write opens with mode 'w' or 'wb', not {mode!r}")
    return _opened(path, mode)


@contextmanager
def _opened(path: str | os.PathLike[str], mode: str) -> Iterator[IO[Any]]:
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    with atomic_path(path) as temporary, temporary.open(mode, encoding=encoding, newline=newline) as file:
        yield file


def _flush_to_disk(path: Path) -> None:
    """Ask the system to put a file, or a folder's list of names, on the disk itself."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # some systems do not open folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
