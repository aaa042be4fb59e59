"""The step checkpoints of a run: which there are, whether they belong together, and their weights, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_robust.errors import UserError, from_user
from lightning_robust.results import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["StepFile", "steps_folder", "steps_of"]

_PATTERN = "step=*.safetensors"
_HEAD = ".head.safetensors"
_STEPS = "steps"


@dataclass(frozen=True)
class StepFile:
    """The checkpoint of one step.

    Attributes:
        step: Optimiser steps taken.
        path: The model.
        head: The head beside it; None where there is none.
    """

    step: int
    path: Path
    head: Path | None

    def weights(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """The model's tensors under their names in the file, and the head's weight.

        Raises:
            UserError: If a file cannot be read.
        """
        from lightning_robust.models.checkpoint_files import load_tensors

        with from_user(ValueError):
            return load_tensors(self.path), None if self.head is None else load_tensors(self.head)["weight"]

    def hashes(self) -> tuple[str, str | None]:
        """SHA-256 of the model's file, and of the head's."""
        return file_sha256(self.path), None if self.head is None else file_sha256(self.head)


def steps_folder(name: str) -> Path | None:
    """The folder of step checkpoints that a name stands for: itself, or `steps` in the folder of a run; else None.

    Args:
        name: What `--model` got.

    Raises:
        UserError: If it is a folder called `steps` that holds none.
    """
    folder = Path(name)
    for found in (folder, folder / _STEPS):
        if found.is_dir() and any(found.glob(_PATTERN)):
            return found
    if folder.is_dir() and folder.resolve().name == _STEPS:
        raise UserError(f"{name} holds no step checkpoints: LogSteps writes them there, as step=000128.safetensors")
    return None


def steps_of(folder: Path) -> list[StepFile]:
    """The checkpoints of a folder in order, once it is known that all are whole and of one model.

    Args:
        folder: With at least one.

    Raises:
        UserError: If there is none, one cannot be read, has no head where another has one, or is of another model.
    """
    from lightning_robust.callbacks.step_checkpoints import step_files

    files = [StepFile(step, path, _head(path)) for step, path in step_files(folder).items()]
    if not files:
        raise UserError(f"{folder} holds no step checkpoints, which are called step=000128.safetensors")
    first = files[0]
    shapes = _shapes(first)
    for file in files[1:]:
        if (file.head is None) != (first.head is None):
            with_head, without = (file, first) if first.head is None else (first, file)
            raise UserError(
                f"{without.path} has no head beside it and {with_head.path} has one: a folder of steps is of one run"
            )
        _check_same(file, _shapes(file), first, shapes)
    return files


def _head(path: Path) -> Path | None:
    beside = path.with_suffix(_HEAD)
    return beside if beside.is_file() else None


def _shapes(file: StepFile) -> Mapping[str, tuple[int, ...]]:
    """Shapes of every tensor by name, from the headers of the files."""
    found = _header(file.path)
    return found if file.head is None else found | {f"head {name}": s for name, s in _header(file.head).items()}


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as content:
            return {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file ({error}): make it again, or take it away") from error


def _check_same(
    file: StepFile, shapes: Mapping[str, tuple[int, ...]], first: StepFile, known: Mapping[str, tuple[int, ...]]
) -> None:
    if shapes == known:
        return
    name = next(name for name in (*known, *shapes) if shapes.get(name) != known.get(name))
    own, other = (f"of shape {found[name]}" if name in found else "missing" for found in (shapes, known))
    raise UserError(
        f"{file.path} and {first.path} are of different models ({name} is {own} and {other}): a folder of steps is of "
        "one run"
    )
