"""Published ImageNet accuracies, read from the tables that ship: no pandas, no download."""

import csv
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from lightning_robust.results.baseline_record import ModelAccuracies

__all__ = [
    "TABLES",
    "published_image_size",
    "published_models",
    "published_source",
    "published_standard",
    "published_timm",
    "published_zero_shot",
]

TABLES = ("imagenet_testbed", "imagenet_timm", "imagenet_zero_shot")
"""The tables; ``tables/sources.json`` says where each comes from, under which licence, and how it was counted."""

_WORDS = ("model", "architecture", "tag", "family", "image_size", "parameters_millions")


def published_source(table: str) -> Mapping[str, Any]:
    """Where a table comes from: source, revision, paper, licence, images and protocol by evaluation set.

    Args:
        table: one of `TABLES`.

    Raises:
        ValueError: there is no such table.

    Example:
        >>> published_source("imagenet_testbed")["images"]["sketch"]
        50889
    """
    _known(table)
    text = (_folder() / "sources.json").read_text(encoding="utf-8")
    source: Mapping[str, Any] = json.loads(text)[table]
    return source


@lru_cache(maxsize=len(TABLES))
def published_models(table: str) -> tuple[ModelAccuracies, ...]:
    """All models of a table. Some lack a figure on some set; an open_clip model is called ``architecture/tag``.

    Args:
        table: one of `TABLES`.

    Raises:
        ValueError: there is no such table.

    Example:
        >>> model = published_models("imagenet_testbed")[0]
        >>> model.family, sorted(model.shifts)
        ('more_data', ['a', 'objectnet', 'r', 'sketch', 'v2'])
    """
    _known(table)
    source = published_source(table)
    found = []
    with (_folder() / source["file"]).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = row["model"] if "model" in row else f"{row['architecture']}/{row['tag']}"
            figures = {column: float(text) for column, text in row.items() if column not in _WORDS and text}
            found.append(
                ModelAccuracies(
                    name,
                    figures.pop("reference"),
                    {column: value for column, value in figures.items() if not column.startswith("matched/")},
                    {c.removeprefix("matched/"): value for c, value in figures.items() if c.startswith("matched/")},
                    row.get("family", "") or row["tag"],
                    source=f"{source['source']} at {source['revision'][:7]}",
                )
            )
    return tuple(found)


def published_zero_shot(architecture: str, tag: str) -> Mapping[str, float] | None:
    """Zero-shot accuracies that open_clip publishes for a pretrained model, as fractions.

    Args:
        architecture: open_clip's name of it; ``/`` and ``-`` are the same.
        tag: open_clip's name of the weights.

    Returns:
        Accuracy by evaluation set, ``"reference"`` among them; None where nothing is published.

    Example:
        >>> published_zero_shot("ViT-B-32", "openai")["reference"]
        0.6332
        >>> published_zero_shot("ViT-B-32", "mine") is None
        True
    """
    return _figures("imagenet_zero_shot", f"{architecture.replace('/', '-')}/{tag}")


def published_standard(model: str) -> Mapping[str, float] | None:
    """Accuracies that timm or the ImageNet testbed publishes for a model, as fractions.

    Args:
        model: its name there, such as ``"resnet50.tv_in1k"`` (timm) or ``"densenet121"`` (testbed).

    Returns:
        Accuracy by evaluation set, ``"reference"`` among them; None where nothing is published.

    Example:
        >>> published_standard("resnet18.tv_in1k")["reference"]
        0.69752
    """
    return _figures("imagenet_timm", model) or _figures("imagenet_testbed", model)


def published_timm(model: str) -> Mapping[str, float] | None:
    """Accuracies that timm publishes for the weights of a name with their tag, as fractions.

    Args:
        model: timm's full name, such as ``"resnet50.a1_in1k"``; one without a tag names no weights.

    Returns:
        Accuracy by evaluation set, ``"reference"`` among them; None where nothing is published.

    Example:
        >>> published_timm("resnet50.tv_in1k")["reference"], published_timm("resnet50")
        (0.76156, None)
    """
    return _figures("imagenet_timm", model)


@lru_cache(maxsize=1)
def _image_sizes() -> Mapping[str, int]:
    with (_folder() / published_source("imagenet_timm")["file"]).open(encoding="utf-8", newline="") as file:
        return {row["model"]: int(row["image_size"]) for row in csv.DictReader(file)}


def published_image_size(model: str) -> int | None:
    """Height and width, in pixels, of the images that timm's published accuracies of a model are of.

    It is often larger than what the model was trained at.

    Args:
        model: timm's full name, with its tag.

    Returns:
        The size; None where nothing is published.

    Example:
        >>> published_image_size("resnet50.a1_in1k"), published_image_size("resnet50.tv_in1k")
        (288, 224)
    """
    return _image_sizes().get(model)


def _figures(table: str, name: str) -> Mapping[str, float] | None:
    for model in published_models(table):
        if model.name == name:
            return {"reference": model.reference, **model.shifts}
    return None


def _folder() -> Any:
    return files("lightning_robust.robustness") / "tables"


def _known(table: str) -> None:
    if table not in TABLES:
        raise ValueError(f"published tables are {', '.join(TABLES)}, got {table!r}")
