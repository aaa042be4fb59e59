"""Layers by name: which submodule a layer string means, wildcards, and an error with the nearest names."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

RETURNED = "forward"
"""The layer string for what the forward returned (no submodule can have this name)."""

_COMPILED = "_orig_mod"
_INPUT = ":input"


class Layer(NamedTuple):
    """A place in a model to read features from.

    Attributes:
        name: the layer string as given.
        module: the submodule.
        reads_input: whether its first input is meant rather than its output.
        ancestors: the modules that hold it, from the model down; none for the model itself.
    """

    name: str
    module: nn.Module
    reads_input: bool
    ancestors: tuple[nn.Module, ...] = ()


def plain_name(name: str) -> str:
    """Leave out what ``torch.compile`` inserts into module names: ``_orig_mod.block.0`` is ``block.0``."""
    return ".".join(part for part in name.split(".") if part != _COMPILED)


def expand_layers(model: nn.Module, layers: Sequence[str]) -> tuple[str, ...]:
    """Replace layer strings with shell wildcards by the names they match, in the model's order.

    ``*`` and ``?`` do not cross dots: ``"visual.transformer.resblocks.*"`` means the blocks, not what is inside them;
    ``"blocks.*.mlp:input"`` works too. A name that an earlier string gave already is not repeated.

    Args:
        model: any module, compiled or not.
        layers: layer strings; see ``find_layer``.

    Returns:
        Layer strings without wildcards.

    Raises:
        ValueError: if a string matches nothing (with the nearest names), or one without wildcards stands twice.

    Example:
        >>> expand_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), ["*", ":input"])
        ('0', '1', ':input')
    """
    if isinstance(layers, str) or len(set(layers)) != len(layers):
        raise ValueError(f"layers must be a list of different names, not {layers!r}.")
    names = _modules(model)
    expanded: dict[str, None] = {}
    for layer in layers:
        if not is_pattern(layer) or plain_name(layer).removesuffix(_INPUT) in names:
            expanded[layer] = None
            continue
        pattern, suffix = plain_name(layer), ""
        if pattern.endswith(_INPUT):
            pattern, suffix = pattern.removesuffix(_INPUT), _INPUT
        matches = [name for name in names if _matches(name, pattern)]
        if not matches:
            raise ValueError(f"{type(model).__name__} has no layer that matches {layer!r}{_hint(pattern, names)}.")
        expanded.update(dict.fromkeys(name + suffix for name in matches))
    return tuple(expanded)


def is_pattern(layer: str) -> bool:
    """Whether a layer string holds shell wildcards.

    Example:
        >>> is_pattern("blocks.*"), is_pattern("blocks.3:input")
        (True, False)
    """
    return any(character in layer for character in "*?[")


def find_layer(model: nn.Module, layer: str) -> Layer:
    """Find the submodule that a layer string names.

    Args:
        model: any module, compiled or not.
        layer: ``"name"`` for a submodule's output, ``"name:input"`` for its first input, ``""`` (or ``":input"``) for
            the model itself, ``"forward"`` for what the forward returned; names as in ``model.named_modules()``.

    Raises:
        ValueError: if there is no such submodule; names the nearest.

    Example:
        >>> find_layer(nn.Sequential(nn.Linear(2, 3)), "0:input").reads_input
        True
    """
    modules = _modules(model)
    if layer == RETURNED:
        return Layer(layer, modules[""], False)
    name, reads_input = plain_name(layer), False
    if name not in modules and name.endswith(_INPUT):
        name, reads_input = name.removesuffix(_INPUT), True
    if name not in modules:
        raise ValueError(f"{type(model).__name__} has no layer {layer!r}{_hint(name, modules)}.")
    parts = name.split(".") if name else []
    ancestors = tuple(modules[".".join(parts[:depth])] for depth in range(len(parts)))
    return Layer(layer, modules[name], reads_input, ancestors)


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    # a compiled module and what it wraps share a plain name; the wrapped one comes later, and it is the one that runs
    return {plain_name(name): module for name, module in model.named_modules(remove_duplicate=False)}


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    return bool(name) and len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _hint(name: str, names: dict[str, nn.Module]) -> str:
    near = get_close_matches(name, names, n=3, cutoff=0.4) or list(names)[1:4]
    return f"; near names: {', '.join(near)}" if near else ""
