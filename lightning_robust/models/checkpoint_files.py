"""Tensors and small files on disk: written beside the target and renamed, read without unpickling anything."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lightning_robust.results import atomic_path

#: Entries of a training's checkpoint that hold weights, in the order in which timm looks for them: averages first.
_STATES: Final = ("state_dict_ema", "model_ema", "state_dict", "model")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a small file so that a reader sees the old file or the new one, never a half.

    Args:
        path: The file; its folder is made if it is missing.
        data: Its content.

    Raises:
        ValueError: If the folder cannot be made or written.
    """
    with _writable(path) as temporary:
        temporary.write_bytes(data)


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Save tensors as one safetensors file, atomically.

    Tensors are moved to the CPU and made contiguous; entries that share memory are written out one by one.

    Args:
        path: The file, conventionally `….safetensors`.
        tensors: Names and tensors.
        metadata: Strings kept in the file's header.

    Raises:
        ValueError: If an entry is no tensor, the metadata are not all strings, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tensors(f"{folder}/t.safetensors", {"a": torch.ones(2)}, {"alpha": "0.5"})
        ...     load_tensors(f"{folder}/t.safetensors")["a"].tolist(), load_metadata(f"{folder}/t.safetensors")
        ([1.0, 1.0], {'alpha': '0.5'})
    """
    metadata = dict(metadata or {})
    wrong = [f"{key!r}: {value!r}" for key, value in metadata.items() if not isinstance(value, str)]
    if wrong:
        raise ValueError(f"The metadata of a safetensors file are strings, not {', '.join(wrong)}: convert them first.")
    strange = [f"{key!r} ({type(value).__name__})" for key, value in tensors.items() if not isinstance(value, Tensor)]
    if strange:
        raise ValueError(f"Only tensors can be saved, not {', '.join(strange)}.")
    plain: dict[str, Tensor] = {}
    owners: set[int] = set()
    for name, tensor in tensors.items():
        ready = tensor.detach().cpu().contiguous()
        storage = ready.untyped_storage().data_ptr()
        # safetensors refuses entries that share memory; a copy loads into any module, tied or not
        plain[name] = ready.clone() if storage in owners else ready
        owners.add(storage)
    with _writable(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(plain, str(temporary), metadata=metadata or None)
        temporary.chmod(mode)  # safetensors makes files that only their owner can read


def load_tensors(path: str | Path, device: str = "cpu") -> dict[str, Tensor]:
    """Load every tensor of a safetensors file.

    Args:
        path: The file.
        device: Where the tensors go.

    Returns:
        Names and tensors.

    Raises:
        ValueError: If the file is missing or is not a whole safetensors file.
    """
    path = _existing(path)
    try:
        with safe_open(str(path), framework="pt", device=device) as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); make it again.") from error


def load_metadata(path: str | Path) -> dict[str, str]:
    """Read the strings that stand in the header of a safetensors file.

    Args:
        path: The file.

    Returns:
        The metadata; empty when there are none.

    Raises:
        ValueError: If the file is missing or is not a whole safetensors file.
    """
    path = _existing(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); make it again.") from error


def load_theta(path: str | Path) -> dict[str, Tensor]:
    """Load a state dict θ from safetensors, a training's checkpoint or a `torch.save`d state dict, unpickling nothing.

    Args:
        path: The file.

    Returns:
        Names and tensors; of a checkpoint the entry that `state_entry` names, so averaged weights before others.

    Raises:
        ValueError: If the file is missing, cannot be read with `weights_only=True`, or holds no state dict.
    """
    path = _existing(path)
    if path.suffix == ".safetensors":
        return load_tensors(path)
    try:
        content = load_plain(path)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]  # of an empty file there is no message
        raise ValueError(f"{path} cannot be read as plain tensors: {lines[0]}") from error
    entry = state_entry(content)
    state = content[entry] if entry else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict: names with tensors, or a Lightning checkpoint, would work.")
    return dict(state)


def load_plain(path: Path, *, mmap: bool = False) -> Any:
    """What `torch.save` wrote, on the CPU; nothing is unpickled but tensors and plain containers.

    Args:
        path: The file.
        mmap: Whether tensors are mapped and not yet read, which old formats do not allow.

    Raises:
        Exception: Whatever torch raises for what it cannot read so.
    """
    # timm's trainings keep their arguments; a namespace holds values and runs nothing
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def state_entry(content: Any) -> str:
    """Which entry of a file's content holds the weights: averaged ones before others, as timm's own loading has it.

    Args:
        content: What the file holds.

    Returns:
        `state_dict_ema`, `model_ema`, `state_dict` or `model`; empty where the content has no such entry, as a state
        dict alone.

    Example:
        >>> state_entry({"state_dict": {}, "model_ema": {}}), state_entry({"w": torch.ones(1)})
        ('model_ema', '')
    """
    entries = content if isinstance(content, dict) else {}
    return next((name for name in _STATES if isinstance(entries.get(name), dict)), "")


def average_of(entry: str) -> str:
    """The entry again if its weights are averages over a training, else nothing; for records and words.

    Args:
        entry: As `state_entry` gives it.

    Example:
        >>> average_of("model_ema"), average_of("state_dict")
        ('model_ema', '')
    """
    return entry if entry.endswith("_ema") else ""


def state_hash(state: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 over names, types, shapes and bytes of a state dict, whatever the order of its entries.

    Args:
        state: Names and tensors.

    Example:
        >>> a, b = torch.zeros(2), torch.ones(1)
        >>> state_hash({"a": a, "b": b}) == state_hash({"b": b, "a": a}) != state_hash({"a": a, "b": a})
        True
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"No file {os.fspath(path)}: give the path of a checkpoint that exists.")
    return path


@contextmanager
def _writable(path: str | Path) -> Iterator[Path]:
    """`atomic_path`, with the folder made and one sentence where that is not allowed."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            yield temporary
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise ValueError(f"Cannot write {path} ({error.strerror}): choose a folder that you may write to.") from error
