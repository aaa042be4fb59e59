"""ObjectNet's 313 objects and the ImageNet classes of 113 of them, from `objectnet.json` (its source and licence)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["BORDER", "ObjectNetObject", "covered", "objects"]

#: ObjectNet's images have a red border of one pixel; wise-ft and imagenet-testbed cut two from every side.
BORDER: Final = 2


@dataclass(frozen=True)
class ObjectNetObject:
    """One of ObjectNet's objects.

    Attributes:
        folder: Name of its folder on disk, such as `butchers_knife`.
        name: The name that ObjectNet displays, such as `Butcher's knife`.
        classes: ImageNet classes that count as right, the canonical one first; empty: none is that object.
    """

    folder: str
    name: str
    classes: tuple[int, ...]


@cache
def objects() -> tuple[ObjectNetObject, ...]:
    """All 313, in the order of their sorted folder names.

    Example:
        >>> len(objects()), objects()[1]
        (313, ObjectNetObject(folder='alarm_clock', name='Alarm clock', classes=(409, 530)))
    """
    table = json.loads(Path(__file__).with_name("objectnet.json").read_text(encoding="utf-8"))["objects"]
    return tuple(ObjectNetObject(folder, name, tuple(classes)) for folder, (name, classes) in sorted(table.items()))


@cache
def covered() -> tuple[ObjectNetObject, ...]:
    """The 113 that ImageNet has classes for: label k of wise-ft and CLIP_benchmark is the k-th of these.

    Example:
        >>> len(covered()), sum(len(one.classes) for one in covered())
        (113, 125)
    """
    return tuple(one for one in objects() if one.classes)
