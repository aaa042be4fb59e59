"""Baselines by name or from a file."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Literal, cast

from lightning_robust.errors import UserError, from_user
from lightning_robust.results.baseline_record import read_baseline
from lightning_robust.robustness.baseline import Baseline
from lightning_robust.robustness.comparable import IMAGENET_DATA
from lightning_robust.robustness.published import published_models, published_source

__all__ = ["IMAGENET_SHIFTS", "load_baseline", "shipped_baselines"]

IMAGENET_SHIFTS = ("v2", "r", "sketch", "objectnet", "a")
"""ImageNet-V2, -R, -Sketch, ObjectNet, ImageNet-A, by the names of the tables."""

_SELECTED_AGAINST = "resnet50"  # ImageNet-A holds what it gets wrong, so that it says nothing about standard models

_Scale = Literal["logit", "probit", "linear"]
_X = Literal["full", "matched"]
_Aggregate = Literal["er", "accuracy"]


def load_baseline(
    name: str | os.PathLike[str],
    *,
    scale: _Scale | None = None,
    x: _X | None = None,
    aggregate: _Aggregate | None = None,
) -> Baseline:
    """Load the models of a baseline and fit its lines.

    Args:
        name: ``"imagenet"`` (81 standard models of the ImageNet testbed), ``"scenes"``, or a file that
            ``fit-baseline`` wrote.
        scale: ``"logit"``, ``"probit"`` or ``"linear"``; None takes what the baseline was made with.
        x: ``"full"`` or ``"matched"``; None likewise.
        aggregate: ``"er"`` or ``"accuracy"``; None likewise.

    Raises:
        UserError: nothing of that name ships and there is no such file, the file is no baseline, or an option does
            not fit its models.

    Example:
        >>> baseline = load_baseline("imagenet")
        >>> len(baseline.models), round(baseline.lines["v2"].slope, 4)
        (81, 0.9316)
    """
    with from_user(ValueError, OSError):
        if name == "imagenet":
            return _imagenet(scale or "logit", x or "full", aggregate or "er")
        record = read_baseline(_file(name))
        return Baseline.fit(
            record.models,
            n=record.images,
            scale=scale or cast("_Scale", record.scale),
            x=x or cast("_X", record.x),
            aggregate=aggregate or cast("_Aggregate", record.aggregate),
            name=record.name,
            protocols=record.protocols,
            description=record.description,
            dataset=record.dataset,
        )


def shipped_baselines() -> tuple[str, ...]:
    """Names of the baselines that ship."""
    folder = files("lightning_robust.robustness") / "baselines"
    own = (
        [file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json")]
        if folder.is_dir()
        else []
    )
    return ("imagenet", *sorted(own))


def _file(name: str | os.PathLike[str]) -> Path:
    shipped = shipped_baselines()
    if isinstance(name, str) and name in shipped:
        return Path(str(files("lightning_robust.robustness") / "baselines" / f"{name}.json"))
    path = Path(name)
    if not path.is_file():
        raise UserError(f"no baseline named {str(name)!r} and no such file: what ships is {', '.join(shipped)}")
    return path


def _imagenet(scale: _Scale, x: _X, aggregate: _Aggregate) -> Baseline:
    """The selection of METHODS 1: family standard, complete rows, without `resnet50`."""
    source = published_source("imagenet_testbed")
    models = [
        model
        for model in published_models("imagenet_testbed")
        if model.family == "standard" and model.name != _SELECTED_AGAINST and set(IMAGENET_SHIFTS) <= set(model.shifts)
    ]
    return Baseline.fit(
        models,
        n=source["images"],
        shifts=IMAGENET_SHIFTS,
        scale=scale,
        x=x,
        aggregate=aggregate,
        name="imagenet",
        protocols=source["protocols"],
        description=f"{len(models)} models of the ImageNet testbed trained on ImageNet alone",
        dataset=IMAGENET_DATA,
    )
