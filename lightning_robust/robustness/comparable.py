"""Whether a baseline speaks of the data that a model is judged on: the same images, counted alike."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from lightning_robust.errors import UserError
from lightning_robust.robustness.baseline import Baseline

__all__ = ["IMAGENET_DATA", "check_data", "comparable", "counted_otherwise"]

IMAGENET_DATA: Final = "ImageNet (ILSVRC 2012) and its natural shifts"
"""What results call ImageNet; `ImageNetDataModule.description`."""

_SCENES: Final = "scenes world"
_IMAGENET_CLASSES: Final = 1000
#: Sampling strategies of ImageNet-V2: three sets of images under one name, up to 14 points apart.
_EDITIONS: Final = ("matched-frequency", "threshold0.7", "top-images")
_OWN_NAMES: Final = ("clip_benchmark", "prompted with")


def comparable(
    baseline: Baseline, dataset: str, classes: Sequence[str], protocols: Mapping[str, str]
) -> tuple[Baseline, tuple[str, ...]]:
    """The baseline on the shifts that it shares with the data and that are the same images there.

    Data sets are known by what results call them; names of shifts alone say little (PACS has a ``sketch`` too).

    Args:
        baseline: by which models are to be judged.
        dataset: the data in words; `Baseline.dataset` is the baseline's.
        classes: names of the classes.
        protocols: how accuracy is counted, by shift of the data.

    Returns:
        The baseline on these shifts, and sentences that a user should read.

    Raises:
        UserError: the baseline is evidently of other data, or no shift is left.
    """
    said = check_data(baseline, dataset, classes)
    found, others = counted_otherwise(baseline, protocols)
    kept = [name for name in baseline.shifts if name in protocols and name not in others]
    said += [f"effective robustness leaves out {name}: {others[name]}" for name in others]
    if others and not kept:
        raise UserError(f"the baseline {baseline.name} has no line for these data: {'; '.join(others.values())}")
    return (baseline.on(kept) if others else baseline), (*said, *found)


def check_data(baseline: Baseline, dataset: str, classes: Sequence[str]) -> list[str]:
    """Refuse a baseline of evidently other data.

    Args:
        baseline: by which models are to be judged.
        dataset: the data in words.
        classes: names of the classes.

    Returns:
        A sentence where it cannot be told.

    Raises:
        UserError: one of both is ImageNet or the scenes world, and the other is not.
    """
    ours, theirs = _short(baseline.dataset), _short(dataset)
    if not ours or not theirs or ours == theirs:
        return []
    own_copy = ours == IMAGENET_DATA and len(classes) == _IMAGENET_CLASSES
    if not own_copy and (_ships(ours) or _ships(theirs)):
        raise UserError(
            f"the baseline {baseline.name} is of {ours!r} and cannot judge models on {theirs!r} ({len(classes)} "
            "classes): shifts of one name are other images there; fit one on these data (fit-baseline)"
        )
    return [f"the baseline {baseline.name} is of {ours!r}, the data are {theirs!r}: its lines hold for the same images"]


def counted_otherwise(baseline: Baseline, protocols: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """On which shifts the baseline's accuracies are of other images, or counted by other rules.

    Args:
        baseline: by which models are to be judged.
        protocols: how accuracy is counted, by shift of the data.

    Returns:
        Sentences about other rules, and by shift a sentence about other images.
    """
    said, others = [], {}
    for name, ours in protocols.items():
        theirs = baseline.protocols.get(name)
        if name not in baseline.shifts or not theirs:
            continue
        editions = [next((one for one in _EDITIONS if one in text), None) for text in (ours, theirs)]
        if None not in editions and editions[0] != editions[1]:
            others[name] = f"it is {editions[0]} here and {editions[1]} in the baseline {baseline.name}"
        elif _differ(name, ours, theirs):
            said.append(
                f"{name} is counted by another protocol than in the baseline {baseline.name}, which shifts its "
                f"effective robustness: {ours!r} here, {theirs!r} there"
            )
    return said, others


def _differ(name: str, ours: str, theirs: str) -> bool:
    """Published tables have their own words: of those only prompts with other class names are known to differ."""
    if ours.startswith(f"{name}: ") and not theirs.startswith(f"{name}: "):
        own_names = [any(words in text for words in _OWN_NAMES) for text in (ours, theirs)]
        return name == "objectnet" and own_names[0] != own_names[1]
    return _rule(ours) != _rule(theirs)


def _rule(protocol: str) -> str:
    """The rule itself, which may go by several names."""
    found = re.search(r"\((.*)\)$", protocol)
    return found.group(1) if found else protocol


def _short(dataset: str) -> str:
    """Data in words, up to what follows on few-shot training and on the shifts."""
    return dataset.split("; ")[0]


def _ships(dataset: str) -> bool:
    return dataset == IMAGENET_DATA or dataset.startswith(_SCENES)
