"""What the folder of a run says of the models in it: their encoder, and what their classes are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from lightning_robust.errors import UserError
from lightning_robust.results.merge_record import read_merge

MERGED = "merged"
"""Kind of what `interpolate` and `soup` wrote, beside the classes of training."""


def run_config(path: Path) -> Path | None:
    """The config of the run that a file lies in: beside it, or above a folder of files; None outside runs.

    Args:
        path: A file of a run.
    """
    return next((f / "config.yaml" for f in path.parents[:2] if (f / "config.yaml").is_file()), None)


def run_settings(config: Path, section: str) -> dict[str, Any]:
    """A section of a run's config; empty where there is none.

    Args:
        config: The config.
        section: `"model"` or `"data"`.

    Raises:
        ValueError: If the config cannot be read.
    """
    try:
        found = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"Cannot read the run's config {config}: {' '.join(str(error).split())}") from error
    inner = found.get(section) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else {}


def init_args(settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a section of a config.

    Args:
        settings: The section.
    """
    found = settings.get("init_args")
    return found if isinstance(found, dict) else {}


def known_encoder(path: Path) -> tuple[str, str, Path] | None:
    """The kind of model that a file holds, its encoder's name, and the file that says so; None if none does.

    Args:
        path: A file of a run, or one that `interpolate` or `soup` wrote.

    Raises:
        ValueError: If the run's config cannot be read.
    """
    for record in (path.with_name("path.json"), path.with_suffix(".json")):
        try:
            merge = read_merge(record)
        except UserError:  # there is none, or it is something else
            continue
        if merge.encoder is not None and path.name in (one.file for one in merge.outputs):
            return MERGED, merge.encoder, record
    if (config := run_config(path)) is None:
        return None
    settings = run_settings(config, "model")
    encoder = init_args(settings).get("encoder")
    if encoder is None:
        raise ValueError(f"{config} names no encoder at model.init_args.encoder.")
    return str(settings.get("class_path", "")).rpartition(".")[2], str(encoder), config


def run_class_names(path: Path) -> tuple[str, ...] | None:
    """What the classes of a model's head are called, as its checkpoint, or the last one of its run, says; else None.

    Args:
        path: A file of a run.
    """
    config = run_config(path)
    asked = [path] if path.suffix == ".ckpt" else [config.with_name("last.ckpt")] if config is not None else []
    for checkpoint in asked:
        try:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        except Exception:
            continue  # none there, or one of another kind: names are not known, and whoever loads it says why
        names = content.get("class_names") if isinstance(content, dict) else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None
