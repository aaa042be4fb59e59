"""Options of `--data CONFIG?name=value&…`: YAML, but text where the argument is a text."""

import types
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from lightning_robust.errors import UserError

__all__ = ["data_options"]


def data_options(text: str, class_path: str) -> dict[str, Any]:
    """The values of options, as the arguments of a data module are annotated.

    Args:
        text: What stands after the question mark.
        class_path: The data module; where it cannot be had, values are what YAML makes of them.

    Raises:
        UserError: If an option has no value, or one that is no YAML.

    Example:
        >>> data_options("root=2024&seed=3&shots=null", "lightning_robust.data.ImageFolderDataModule")
        {'root': '2024', 'seed': 3, 'shots': None}
    """
    options: dict[str, Any] = {}
    hints = _hints(class_path) if text else {}
    for part in filter(None, text.split("&")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"--data CONFIG takes options as ?name=value&…, not {part!r}")
        try:
            read, words = yaml.safe_load(value), yaml.load(value, Loader=yaml.BaseLoader)
            options[name] = _fitting(read, words, hints.get(name, Any))
        except (yaml.YAMLError, ValueError) as error:  # such as 2024-99-99, which is no date
            raise UserError(f"--data: the value of {name} is no YAML: {value!r}") from error
    return options


def _hints(class_path: str) -> Mapping[str, Any]:
    module, _, name = class_path.rpartition(".")
    try:
        return get_type_hints(getattr(import_module(module), name).__init__)
    except (ImportError, AttributeError, NameError, ValueError, TypeError):  # the parser says what is wrong with it
        return {}


def _fitting(read: Any, words: Any, hint: Any) -> Any:
    """A value as YAML reads it, but its words where the annotation has texts and nothing of its type."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if isinstance(read, list):
        inner = _inner(choices, Sequence)
        return [_fitting(one, word, inner) for one, word in zip(read, words, strict=True)]
    if isinstance(read, dict):
        keys, inner = _inner(choices, Mapping, of_key=True), _inner(choices, Mapping)
        pairs = zip(read, words, strict=True)
        return {_fitting(known, key, keys): _fitting(read[known], words[key], inner) for known, key in pairs}
    if str not in choices or type(read) in choices or (read is None and types.NoneType in choices):
        return read
    return read if isinstance(read, int) and not isinstance(read, bool) and float in choices else words


def _inner(choices: Sequence[Any], kind: type, *, of_key: bool = False) -> Any:
    """The annotation of what a list or a dict holds, or of a dict's keys."""
    for choice in choices:
        origin = get_origin(choice)
        if isinstance(origin, type) and issubclass(origin, kind) and get_args(choice):
            return get_args(choice)[1 if kind is Mapping and not of_key else 0]
    return Any
