"""Layers by name: which submodule a layer string means, and an error with the nearest names."""

from difflib import get_close_matches
from typing import NamedTuple

from torch import nn

_COMPILED = "_orig_mod"


class Layer(NamedTuple):
    """A place in a model to read features from.

    Attributes:
        name: the layer string as given.
        module: the submodule.
        reads_input: whether its first input is meant rather than its output.
    """

    name: str
    module: nn.Module
    reads_input: bool


def plain_name(name: str) -> str:
    """Leave out what ``torch.compile`` inserts into module names: ``_orig_mod.block.0`` is ``block.0``."""
    return ".".join(part for part in name.split(".") if part != _COMPILED)


def find_layer(model: nn.Module, layer: str) -> Layer:
    """Find the submodule that a layer string names.

    Args:
        model: any module, compiled or not.
        layer: ``"name"`` for a submodule's output, ``"name:input"`` for its first input, ``""`` (or ``":input"``) for
            the model itself; names as in ``model.named_modules()``.

    Raises:
        ValueError: if there is no such submodule; names the nearest.

    Example:
        >>> find_layer(nn.Sequential(nn.Linear(2, 3)), "0:input").reads_input
        True
    """
    # a compiled module and what it wraps share a plain name; the wrapped one comes later, and it is the one that runs
    modules = {plain_name(name): module for name, module in model.named_modules(remove_duplicate=False)}
    name, reads_input = plain_name(layer), False
    if name not in modules and name.endswith(":input"):
        name, reads_input = name.removesuffix(":input"), True
    if name not in modules:
        near = get_close_matches(name, modules, n=3, cutoff=0.4) or list(modules)[1:4]
        hint = f"; near names: {', '.join(near)}" if near else ""
        raise ValueError(f"{type(model).__name__} has no layer {layer!r}{hint}.")
    return Layer(layer, modules[name], reads_input)
