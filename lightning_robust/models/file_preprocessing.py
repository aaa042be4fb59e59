"""Preprocessing that stands beside a file of weights: in open_clip's configuration, or a training's settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml
from open_clip.transform import PreprocessCfg

_CONFIG, _LOG = "open_clip_config.json", "params.txt"
#: How open_clip's training names them in `params.txt`, where None is the architecture's own.
_SETTINGS = {
    "mean": "image_mean",
    "std": "image_std",
    "interpolation": "image_interpolation",
    "resize_mode": "image_resize_mode",
}


def preprocessing_beside(file: Path) -> tuple[dict[str, Any], Path] | None:
    """What the files beside weights say of the preprocessing that they were trained with.

    Args:
        file: The weights. `open_clip_config.json` counts in its folder, `params.txt` there and one above.

    Returns:
        Some of mean, std, interpolation and resize_mode, and the file that says so; None where none does.
    """
    found: Any = _read(file.parent / _CONFIG, json.loads)
    found = found.get("preprocess_cfg") if isinstance(found, dict) else None
    if isinstance(found, dict) and (known := {key: found[key] for key in _SETTINGS if found.get(key) is not None}):
        return known, file.parent / _CONFIG
    for log in (file.parent / _LOG, file.parent.parent / _LOG):
        lines = (_read(log, str) or "").splitlines()
        settings = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        said = {key: settings.get(name, "None") for key, name in _SETTINGS.items()}
        if known := {key: yaml.safe_load(value) for key, value in said.items() if _is_value(value)}:
            return known, log
    return None


def differing(own: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Names of the settings that are not the same; rounding, and a list for a tuple, are no difference.

    Args:
        own: An encoder's preprocessing.
        given: Of `preprocessing_beside`.

    Example:
        >>> differing({"mean": (0.5, 0.5, 0.5)}, {"mean": [0.5, 0.5, 0.5], "resize_mode": "squash"})
        ['resize_mode']
    """
    default = asdict(PreprocessCfg())
    return [key for key, value in given.items() if not _same(own.get(key, default[key]), value)]


def whole(own: Mapping[str, Any], given: Mapping[str, Any]) -> PreprocessCfg:
    """An encoder's preprocessing with what stands beside its weights.

    Args:
        own: The encoder's.
        given: Of `preprocessing_beside`.
    """
    known = {field.name for field in fields(PreprocessCfg)}
    listed = {key: tuple(value) if isinstance(value, list) else value for key, value in {**own, **given}.items()}
    return PreprocessCfg(**{key: value for key, value in listed.items() if key in known})


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float | int) and isinstance(other, float | int):
        return abs(one - other) < 1e-6
    return bool(one == other)


def _is_value(text: str) -> bool:
    try:
        return text != "None" and isinstance(yaml.safe_load(text), list | str)
    except yaml.YAMLError:
        return False


def _read(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None
