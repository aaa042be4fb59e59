"""A part of a study's file, read strictly: an unknown key is refused with near names, a wrong value in one sentence."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from lightning_robust.cli.argument_types import LARGEST_SEED
from lightning_robust.errors import UserError

__all__ = ["NAME", "Section", "near", "strict_yaml"]

#: What can be part of a folder's name everywhere.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_MISSING: Final = object()


@dataclass(frozen=True)
class Section:
    """A mapping of the file, and where it stands.

    Attributes:
        values: What it holds.
        where: For sentences, as in `"study.yaml, models[0].train"`.
    """

    values: Mapping[str, Any]
    where: str

    def __post_init__(self) -> None:
        if not isinstance(self.values, Mapping):
            raise UserError(f"{self.where} is a mapping of keys to values, got {shown(self.values)}")

    def only(self, known: Sequence[str], needed: Sequence[str] = ()) -> None:
        """Refuse other keys than the known ones, and the lack of one that is needed.

        Args:
            known: All keys.
            needed: Those that have to be there.

        Raises:
            UserError: If there is another, or one is missing.
        """
        for key in self.values:
            if key not in known:
                raise UserError(f"{self.where} has no key {key!r}: {near(str(key), known)}")
        for key in needed:
            if key not in self.values:
                raise UserError(f"{self.where} lacks {key}:")

    def text(self, key: str) -> str | None:
        """A text that is not empty; None where the key is absent.

        Args:
            key: Its key.

        Raises:
            UserError: If it is something else.
        """
        value = self.values.get(key, _MISSING)
        if value is _MISSING:
            return None
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{self.where}: {key} is a text, got {shown(value)}")
        return value

    def name(self, key: str) -> str | None:
        """A text that can be part of a folder's name; None where the key is absent.

        Args:
            key: Its key.

        Raises:
            UserError: If it is something else.
        """
        value = self.text(key)
        if value is not None and not NAME.fullmatch(value):
            raise UserError(
                f"{self.where}: {key} becomes the name of a folder: at most 100 letters, digits, dots, "
                f"dashes, plus signs and underscores, got {value!r}"
            )
        return value

    def seed(self, key: str) -> int | None:
        """A whole number from 0 to 2**63 - 1; None where the key is absent.

        Args:
            key: Its key.

        Raises:
            UserError: If it is something else.
        """
        value = self.values.get(key, _MISSING)
        if value is _MISSING:
            return None
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 40 else value
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LARGEST_SEED:
            raise UserError(f"{self.where}: {key} is a whole number from 0 to 2**63 - 1, got {shown(value)}")
        return number

    def inner(self, key: str) -> "Section":
        """A mapping inside; empty where the key is absent.

        Args:
            key: Its key.

        Raises:
            UserError: If it is something else.
        """
        return Section(self.values.get(key, {}), f"{self.where}.{key}")

    def items(self, key: str) -> list[Any]:
        """A list that is not empty, with nothing twice.

        Args:
            key: Its key.

        Raises:
            UserError: If it is something else.
        """
        value = self.values.get(key)
        if not isinstance(value, list) or not value:
            raise UserError(f"{self.where}: {key} is a list with at least one entry, got {shown(value)}")
        for place, one in enumerate(value):
            if one in value[:place]:
                raise UserError(f"{self.where}: {key} names {shown(one)} twice")
        return value


def near(name: str, known: Sequence[str]) -> str:
    """What there is, in words: the nearest names first where some are near.

    Args:
        name: What was written.
        known: What there is.

    Example:
        >>> near("modles", ["name", "models"])
        "did you mean 'models'? There are name, models"
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    guess = f"did you mean {close[0]!r}? There are" if close else "there are"
    return f"{guess} {', '.join(known)}"


def shown(value: Any) -> str:
    """A value as a sentence quotes it, not longer than 60 characters."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def strict_yaml(text: str) -> Any:
    """Read YAML without tags, in which no mapping names a key twice.

    Args:
        text: The YAML.

    Raises:
        ValueError: If it is no YAML, or names a key twice.

    Example:
        >>> strict_yaml("a: 1")
        {'a': 1}
    """
    try:
        return yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


class _Strict(yaml.SafeLoader):
    """PyYAML keeps the last of two values without a word."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._looked_at: list[yaml.MappingNode] = []

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Look at the keys as they are written, before `<<` adds those of another mapping, which may be replaced."""
        seen = set()
        for key, _ in node.value if not any(node is one for one in self._looked_at) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        self._looked_at.append(node)
        super().flatten_mapping(node)
        # of a key that was merged and replaced PyYAML keeps both, and merges the wrong one into a third mapping
        last = {key.value if isinstance(key, yaml.ScalarNode) else id(key): (key, value) for key, value in node.value}
        node.value = list(last.values())
