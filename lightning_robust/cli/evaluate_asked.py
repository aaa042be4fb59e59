"""What the words after `--model` stand for: single models, and the files of Wise-FT paths."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightning_robust.errors import UserError

__all__ = ["Asked", "asked_models"]

_POINT = re.compile(r"alpha=(.+?)(\.head)?\.safetensors")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Asked:
    """What one word stands for.

    Attributes:
        name: The word.
        path: The files of a Wise-FT path by α, ascending; empty for one model.
    """

    name: str
    path: Mapping[float, str] = field(default_factory=dict)


def asked_models(words: Sequence[str]) -> list[Asked]:
    """What each word stands for: a run's folder and its `wise_ft` folder are paths, everything else is one model.

    Args:
        words: As typed.

    Raises:
        UserError: If a run's folder holds no path, a file of a path has no α of its own in [0, 1], or a model is
            named twice.

    Example:
        >>> asked_models(["scenes-clip", "ViT-B-32/openai"])[1].name
        'ViT-B-32/openai'
    """
    found = [_asked(word) for word in words]
    first: dict[str, str] = {}
    for one in found:
        for file in one.path.values() or [one.name]:
            model = os.path.abspath(file) if Path(file).exists() else file  # noqa: PTH100 - links stay apart
            if model in first:
                raise UserError(_twice(file, first[model], one.name))
            first[model] = one.name
    return found


def _twice(file: str, earlier: str, later: str) -> str:
    if earlier == later == file:
        return f"--model names {file} twice: name each model once"
    if file in (earlier, later) and os.path.normpath(earlier) != os.path.normpath(later):
        return f"--model names {file} twice, for it is a point of the path {later if file == earlier else earlier}"
    return f"--model names the same twice, as {earlier} and as {later}: name each model once"


def _asked(word: str) -> Asked:
    folder = Path(word)
    if not folder.is_dir():
        return Asked(word)
    for place in (folder, folder / "wise_ft"):
        if found := _path(place):
            return Asked(word, found)
    if (folder / "config.yaml").is_file() and not (folder / "model.safetensors").is_file():
        last = folder / "last.ckpt"
        there = f"give {last}" if last.is_file() else "it has not written a checkpoint yet"
        raise UserError(f"{word} is the folder of a run without a Wise-FT path: {there}")
    return Asked(word)


def _path(folder: Path) -> dict[float, str]:
    """The files of a path by α, ascending; heads stand beside them."""
    found: dict[float, Path] = {}
    for file in sorted(folder.glob("alpha=*.safetensors")):
        point = _POINT.fullmatch(file.name)
        if point is None or point[2]:
            continue
        alpha = float(point[1]) if _NUMBER.fullmatch(point[1]) else math.nan
        if not 0 <= alpha <= 1:
            raise UserError(f"{file} names no α in [0, 1]: move it out of the folder of the path")
        if alpha in found:
            raise UserError(f"{found[alpha]} and {file.name} are both of α = {alpha:g}: keep one of them in the path")
        found[alpha] = file
    return {alpha: str(found[alpha]) for alpha in sorted(found)}
