"""Templates of a study's file: `{backbone}` and `{backbone.encoder}`, once for every combination of a matrix."""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lightning_robust.cli.study_section import Section, near, shown
from lightning_robust.errors import UserError

__all__ = ["combinations", "filled"]

_VARIABLE: Final = re.compile(r"\{([A-Za-z_][\w.]*)\}")


def combinations(section: Section) -> Iterator[dict[str, Any]]:
    """The variables of every combination, the first key of the matrix changing slowest.

    Args:
        section: The matrix: a list of values for each key, or a mapping of names to mappings of variables.

    Yields:
        Values by variable: `backbone`, and `backbone.encoder` where its values are mappings.

    Raises:
        UserError: If a value is of another kind, or the values of a key do not have the same variables.

    Example:
        >>> matrix = {"net": {"rn": {"lr": 0.1}, "vit": {"lr": 0.2}}, "seed": [0]}
        >>> [values["net.lr"] for values in combinations(Section(matrix, "matrix"))]
        [0.1, 0.2]
    """
    axes = [_axis(section, key) for key in section.values]
    for chosen in itertools.product(*axes):
        yield {name: value for variables in chosen for name, value in variables.items()}


def _axis(section: Section, key: str) -> list[dict[str, Any]]:
    if not isinstance(key, str) or not key.isidentifier():
        raise UserError(f"{section.where}: {shown(key)} is no name of a variable: letters, digits and underscores")
    values = section.values[key]
    if not isinstance(values, Mapping):
        listed = section.items(key)
        if strange := [value for value in listed if isinstance(value, list | Mapping) or value is None]:
            raise UserError(f"{section.where}.{key} lists texts and numbers, got {shown(strange[0])}")
        return [{key: value} for value in listed]
    if not values:
        raise UserError(f"{section.where}.{key} names nothing")
    axis = []
    first = Section(next(iter(values.values())), f"{section.where}.{key}.{next(iter(values))}")
    for name in values:
        inner = Section(values[name], f"{section.where}.{key}.{name}")
        inner.only(list(first.values), list(first.values))
        axis.append({key: name, **{f"{key}.{variable}": value for variable, value in inner.values.items()}})
    return axis


def filled(value: Any, variables: Mapping[str, Any], where: str) -> Any:
    """A value with its variables filled in, in lists and mappings too.

    A text that is one variable and nothing else becomes its value, so that numbers stay numbers.

    Args:
        value: What stands in the file.
        variables: By name.
        where: For sentences.

    Raises:
        UserError: If a variable is unknown.

    Example:
        >>> filled(["{lr}", "{net}-small"], {"lr": 0.1, "net": "rn"}, "here")
        [0.1, 'rn-small']
    """
    if isinstance(value, Mapping):
        return {filled(key, variables, where): filled(one, variables, where) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, variables, where) for one in value]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in variables:
            there = near(name, list(variables)) if variables else "the entry has no matrix:"
            raise UserError(f"{where}: no variable {{{name}}}: {there}")
    if whole := _VARIABLE.fullmatch(value):
        return variables[whole[1]]
    return _VARIABLE.sub(lambda match: str(variables[match[1]]), value)
