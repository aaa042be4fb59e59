"""The one rule by which a classifier's class names fit those of the data, and how many texts its head is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_class_names(names: Sequence[str], datamodule: Any, *, given: bool) -> None:
    """Refuse to read the labels of a data module as the classes of a classifier that has other ones.

    Names that the classifier took from its data have to be the same, in the same order. Names given by hand may word
    the classes otherwise, as prompts do ("crane bird" for "crane"): their number has to agree, and a name that is in
    both lists stands at the same place in both.

    Args:
        names: The classifier's classes, in the order of the labels.
        datamodule: What the Trainer holds; may be None, and may have no `class_names`: then nothing is known.
        given: Whether the classifier's names were given by hand.

    Raises:
        ValueError: If they do not fit.

    Example:
        >>> from types import SimpleNamespace
        >>> check_class_names(["crane bird", "kite"], SimpleNamespace(class_names=["crane", "kite"]), given=True)
    """
    found = getattr(datamodule, "class_names", None)
    if found is None:
        return
    own, theirs = [str(name) for name in names], [str(name) for name in found]
    if own == theirs:
        return
    places: dict[str, set[int]] = {}
    for place, name in enumerate(theirs):
        places.setdefault(name, set()).add(place)
    moved = [name for place, name in enumerate(own) if name in places and place not in places[name]]
    if not given or len(own) != len(theirs) or moved:
        where = f" {moved[0]!r} stands for another label there." if moved and len(own) == len(theirs) else ""
        raise ValueError(
            f"This classifier is for the {len(own)} classes {own[:3]}…, but the data module has the {len(theirs)} "
            f"classes {theirs[:3]}….{where}"
        )


def texts_in_words(class_names: Sequence[str], templates: Sequence[str]) -> str:
    """How many texts a zero-shot head is made of.

    Args:
        class_names: The classes.
        templates: The prompts.

    Example:
        >>> texts_in_words(["star", "heart"], ["a {}"])
        '2 classes × 1 prompt'
    """
    return f"{len(class_names)} classes × {len(templates)} prompt{'' if len(templates) == 1 else 's'}"
