"""Frozen parts: parameters that are not trained, and whose layers stay in eval mode."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn


def freeze(module: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze parameters by name.

    Args:
        module: What holds them.
        patterns: Globs over names of parameters, or of modules with all that is in them:
            `model.encoder.visual.layer1`, `model.encoder.visual.*.bn?.*`.

    Raises:
        ValueError: If a pattern names nothing, or nothing that would be trained.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> freeze(model, ["0", "1.bias"])
        >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        ['1.weight']
    """
    if isinstance(patterns, str):
        raise ValueError(f"freeze is a list of names, not one text: [{patterns!r}].")
    parameters = dict(module.named_parameters())
    trained = {name for name, parameter in parameters.items() if parameter.requires_grad}
    for pattern in patterns:
        found = [name for name in parameters if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        if not found:
            raise ValueError(f"freeze names {pattern!r}, which no parameter is called; {_near(pattern, parameters)}")
        if not trained.intersection(found):
            raise ValueError(f"freeze names {pattern!r}, which would not be trained anyway ({found[0]}): leave it out.")
        for name in found:
            parameters[name].requires_grad_(False)


def rest_frozen_parts(module: nn.Module) -> None:
    """Put every part whose parameters are all frozen into eval mode: batch-norm statistics stay, nothing drops out.

    Args:
        module: The whole, in train mode.
    """
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def _near(pattern: str, parameters: Sequence[str] | dict[str, nn.Parameter]) -> str:
    parts = {name.rsplit(".", depth)[0] for name in parameters for depth in range(name.count(".") + 1)}
    close = difflib.get_close_matches(pattern.replace("*", ""), sorted(parts | set(parameters)), n=3, cutoff=0.5)
    return f"near names: {', '.join(repr(name) for name in close) or repr(next(iter(parameters), ''))}."
