"""Frozen dataclasses to and from strict JSON, driven by their annotations."""

import dataclasses
import functools
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

__all__ = ["decode", "encode"]

_Record = TypeVar("_Record")


def encode(value: Any, where: str = "record") -> Any:
    """Turn a record into what ``json.dumps(allow_nan=False)`` takes.

    Dataclasses become objects, tuples lists, paths text, NaN null; the infinities, which JSON has not, become the
    text ``"Infinity"`` and ``"-Infinity"``. Scalars of numpy and torch become plain numbers.

    Args:
        value: the record or a part of it.
        where: name of the part, for messages.

    Raises:
        TypeError: a part that has no form in JSON; the message names it.

    Example:
        >>> encode({"kurtosis": float("nan"), "layers": ("head",)})
        {'kurtosis': None, 'layers': ['head']}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key, where): encode(part, f"{where}.{key}") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [encode(part, f"{where}[{index}]") for index, part in enumerate(value)]
    return _encode_scalar(value, where)


def decode(record: type[_Record], data: Any, where: str = "record") -> _Record:
    """Build a record from parsed JSON, checking every part against the annotation of its field.

    Args:
        record: a dataclass, or any annotation made of dataclasses, ``Mapping[str, …]``, ``tuple[…, ...]``, ``list``,
            ``str``, ``int``, ``float``, ``bool``, ``None``, unions of these and ``Any``.
        data: what ``json.loads`` gave. Null stands for NaN where a float is expected.
        where: name of the part, for messages.

    Raises:
        ValueError: a part is missing, unknown or of another type; the message names it.

    Example:
        >>> decode(tuple[float, ...], [1, None])
        (1.0, nan)
    """
    return cast("_Record", _decode(record, data, where))


def _encode_scalar(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # numpy and torch
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _NOT_FINITE.get(value)
    raise TypeError(f"{where} cannot be written as JSON: it is a {type(value).__name__}")


_PLAIN = {float, int, str, bool}
_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{where} cannot be written as JSON: its key {key!r} is not text")
    return key


def _decode(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return data
    if dataclasses.is_dataclass(kind):
        return _decode_record(cast("type", kind), data, where)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), data, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), "an object", data, where)
        return {key: _decode(get_args(kind)[1], part, f"{where}.{key}") for key, part in data.items()}
    if origin in (tuple, list):
        _expect(isinstance(data, list), "a list", data, where)
        if {*map(type, data)} <= {get_args(kind)[0]} & _PLAIN:  # most of a long file
            return origin(data)
        return origin(_decode(get_args(kind)[0], part, f"{where}[{index}]") for index, part in enumerate(data))
    return _decode_scalar(kind, data, where)


def _decode_record(kind: type, data: Any, where: str) -> Any:
    _expect(isinstance(data, dict), "an object", data, where)
    hints, fields = _parts(kind)
    if unknown := sorted(data.keys() - fields.keys()):
        raise ValueError(f"{where} has parts that {kind.__name__} does not know: {', '.join(unknown)}")
    optional = {
        name
        for name, field in fields.items()
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    if missing := sorted(fields.keys() - data.keys() - optional):
        raise ValueError(f"{where} lacks parts that {kind.__name__} needs: {', '.join(missing)}")
    return kind(**{name: _decode(hints[name], part, f"{where}.{name}") for name, part in data.items()})


@functools.cache
def _parts(kind: type) -> tuple[dict[str, Any], dict[str, dataclasses.Field[Any]]]:
    """Annotations and fields of a dataclass by name."""
    return get_type_hints(kind), {field.name: field for field in dataclasses.fields(kind)}


def _decode_union(options: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and types.NoneType in options:
        return None
    remaining = [option for option in options if option is not types.NoneType]
    if len(remaining) != 1:
        raise TypeError(f"{where} is annotated with a choice of {len(remaining)} types, which JSON cannot tell apart")
    return _decode(remaining[0], data, where)


def _decode_scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is float:
        if data is None:
            return math.nan
        if data in ("Infinity", "-Infinity"):
            return float(data)
        _expect(isinstance(data, int | float) and not isinstance(data, bool), "a number", data, where)
        return float(data)
    _expect(isinstance(data, kind) and (kind is bool or not isinstance(data, bool)), kind.__name__, data, where)
    return data


def _expect(fits: bool, wanted: str, data: Any, where: str) -> None:
    if not fits:
        raise ValueError(f"{where} should be {wanted}, not {str(data)[:40]!r}")
