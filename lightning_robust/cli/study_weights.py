"""What the weights of a model are, told by its files without loading them."""

import hashlib
import json
import threading
from importlib import resources
from pathlib import Path
from typing import Final

from lightning_robust.errors import UserError
from lightning_robust.results import file_sha256
from lightning_robust.results.atomic import atomic_write

__all__ = ["note_weights", "refuse_other_weights", "weights_digest", "weights_files"]

_FOLDERS: Final = ("local-dir:", "transformers:")
_ENDINGS: Final = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".json", ".txt", ".model")
_known: dict[tuple[str, int, int], str] = {}
_lock = threading.Lock()


def weights_files(source: str) -> list[Path]:
    """The files that a model is made of, where its name says which.

    Args:
        source: As `evaluate --model` takes it.

    Returns:
        Sorted; empty for a model that is known by its name alone, such as `ARCHITECTURE/TAG` or random weights.

    Example:
        >>> [file.name for file in weights_files("scenes-supervised")]
        ['model.safetensors']
    """
    prefix = next((known for known in _FOLDERS if source.startswith(known)), "")
    path = _shipped(source) or Path(source.removeprefix(prefix)).expanduser()
    _, at, named = source.partition("@")
    if at and not path.exists() and Path(named).expanduser().is_file():
        return [Path(named).expanduser()]
    if path.is_file():
        head = path.with_name(f"{path.stem}.head{path.suffix}")
        return sorted([path, *([head] if head.is_file() else [])])
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in _ENDINGS and file.is_file())
    return []


def _shipped(name: str) -> Path | None:
    """The folder of a model that ships; its name goes before a folder of the same name."""
    folder = Path(str(resources.files("lightning_robust.checkpoints"))) / name
    return folder if Path(name).name == name and folder.is_dir() else None


def weights_digest(source: str) -> str | None:
    """SHA-256 over the names and bytes of the files that a model is made of.

    A file is read once for a size and a time of change.

    Args:
        source: As `evaluate --model` takes it.

    Returns:
        64 hexadecimal digits; None for a model that is known by its name alone.

    Raises:
        OSError: If a file cannot be read.
    """
    files = weights_files(source)
    if not files:
        return None
    listed = [(file.name, _file_digest(file)) for file in files]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _file_digest(file: Path) -> str:
    found = file.stat()
    key = (str(file.resolve()), found.st_size, found.st_mtime_ns)
    with _lock:
        known = _known.get(key)
    if known is None:
        known = file_sha256(file)
        with _lock:
            _known[key] = known
    return known


def note_weights(note: Path, source: str) -> None:
    """Keep which weights a finetuning begins with; nothing of a model that is known by its name alone.

    Args:
        note: The file to keep it in.
        source: The model, as `evaluate --model` takes it.
    """
    digest = weights_digest(source)
    if digest is None:
        note.unlink(missing_ok=True)
        return
    with atomic_write(note) as file:
        file.write(f"{digest}\n")


def refuse_other_weights(folder: Path, note: Path, source: str) -> None:
    """Refuse a finetuning that was begun with other weights than its model has now.

    Args:
        folder: The finetuning's run, begun or not.
        note: Of `note_weights`; without one nothing is known.
        source: The model, as `evaluate --model` takes it.

    Raises:
        UserError: If they differ.
    """
    if not folder.is_dir() or not note.is_file():
        return
    digest = weights_digest(source)
    if digest is not None and note.read_text(encoding="utf-8").strip() != digest:
        raise UserError(
            f"the run in {folder} was begun with other weights than {source} has now: move it away, or take another "
            "--run_name"
        )
