"""A frozen record as a JSON file: written whole or not at all, read with one sentence for whatever is wrong."""

import json
import os
from pathlib import Path
from typing import Any, TypeVar

from lightning_robust.errors import UserError
from lightning_robust.results.atomic import atomic_write
from lightning_robust.results.codec import decode, encode

__all__ = ["from_json", "read_record", "write_record"]

_Record = TypeVar("_Record")


def write_record(record: Any, path: str | os.PathLike[str]) -> None:
    """Write a record as strict JSON, whole or not at all; NaN becomes null.

    Raises:
        FileNotFoundError: the folder does not exist.
        TypeError: a part of the record has no form in JSON.
    """
    text = json.dumps(encode(record, "results"), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text + "\n")


def from_json(record: type[_Record], data: Any, schema: int, what: str) -> _Record:
    """Build a record from parsed JSON.

    Args:
        record: its class.
        data: what ``json.loads`` gave.
        schema: the newest version of its layout that is understood.
        what: what the file is called in messages, ``"a run's results.json"``.

    Raises:
        UserError: it was written by a newer version, or is not such a record; the message says what is wrong.
    """
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int) or version < 1:
        raise UserError(f"this is not {what}: it has no schema_version")
    if version > schema:
        raise UserError(
            f"these results were written by a newer lightning-robust (schema {version}, this one reads up to "
            f"{schema}): update it to read them"
        )
    try:
        return decode(record, data, "results")
    except ValueError as error:
        raise UserError(f"this is not {what}: {error}") from error


def read_record(record: type[_Record], path: str | os.PathLike[str], schema: int, what: str, writer: str) -> _Record:
    """Read a record from its file.

    Args:
        record: its class.
        path: the file.
        schema: the newest version of its layout that is understood.
        what: what the file is called in messages.
        writer: what writes it there, for the message where there is none.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no results at {path}: {writer} writes its results.json there") from None
    except OSError as error:  # no right to read it, a name that is too long, a circle of links
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"{path} is not {what}: it is nested too deeply") from None
    except ValueError as error:  # not JSON, or not text
        raise UserError(f"{path} is not {what}: {error}") from None
    try:
        return from_json(record, data, schema, what)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
