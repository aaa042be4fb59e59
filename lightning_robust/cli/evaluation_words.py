"""How accuracies and effective robustness were taken, in sentences: for the record of every command that judges."""

import inspect
import json
from collections.abc import Sequence
from typing import Any

__all__ = ["accuracy_words", "baseline_name", "baseline_words", "option_words"]


def accuracy_words(data: Any) -> list[str]:
    """How accuracy is counted, and what zero-shot heads are made of.

    Args:
        data: The data module.
    """
    return [
        "accuracy: top-1; intervals: Wilson, 95 %",
        "matched: accuracy on the reference images of the classes that a shift covers, logits restricted as on it",
        f"zero-shot heads: {len(data.class_names)} class names, {len(data.templates)} prompts, mean of normalised "
        "embeddings times the logit scale",
    ]


def baseline_words(baseline: Any, sets: Sequence[Any]) -> list[str]:
    """What effective robustness is above; nothing without a baseline.

    Args:
        baseline: The baseline, or None.
        sets: The sets, the reference first.
    """
    if baseline is None:
        return []
    said = [
        f"effective robustness: {baseline.scale} line on {len(baseline.models)} standard models, x = {baseline.x}, "
        f"aggregate = {baseline.aggregate}; "
        "first interval: line and sampling error, second: a standard model's scatter about the line added"
    ]
    told = ["reference", *(one.name for one in sets[1:])]
    if counted := [f"{name}: {baseline.protocols[name]}" for name in told if name in baseline.protocols]:
        said.append(f"the baseline's models were counted by {'; '.join(counted)}")
    left_out = [one.name for one in sets[1:] if one.name not in baseline.shifts]
    if left_out:
        said.append(f"effective robustness leaves out {', '.join(left_out)}: the baseline has no line for them")
    return said


def option_words(options: dict[str, Any], data: Any) -> list[str]:
    """The data module's arguments that are not their defaults.

    Args:
        options: As `data_settings` gives them.
        data: The data module.
    """
    known = inspect.signature(type(data)).parameters
    told = [
        f"{name}={value!r}"
        for name, value in options.items()
        if name in known and json.loads(json.dumps(known[name].default, default=str)) != value
    ]
    return [f"options of the data: {', '.join(told)}"] if told else []


def baseline_name(baseline: Any) -> str:
    """A baseline by name and description.

    Args:
        baseline: The baseline.
    """
    return f"{baseline.name}: {baseline.description}" if baseline.description else str(baseline.name)
