"""What the classes of a copy are called, as ImageNet classes: wnids, numbers, ObjectNet's names, WordNet's words.

Copies differ: folders are named by wnid, ImageNet-V2's by number, tables of ImageNet-R and -A count their 200 classes
from 0, tables of ObjectNet its 113 (or all 313) in the order of sorted folder names. One rule for folders and tables.
"""

import difflib
import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from lightning_robust.data.imagenet.classes import A_SYNSETS, R_SYNSETS, class_names, class_words, subset, wnids
from lightning_robust.data.imagenet.objectnet import ObjectNetObject, covered, objects
from lightning_robust.data.imagenet.published import published

__all__ = ["imagenet_classes", "is_class", "looks_like_class", "set_classes"]

_WNID: Final = re.compile(r"n\d{8}")
_GAPS: Final = re.compile(r"[ _/]+")
#: WordNet's and CLIP's words for a class differ, so that not all have to agree for a list to be known as ImageNet's.
_AGREEMENT: Final = 0.8


def set_classes(name: str) -> tuple[int, ...]:
    """The ImageNet classes that a set covers, ascending (ObjectNet: all 125).

    Args:
        name: Short name of the set.

    Example:
        >>> [len(set_classes(name)) for name in ("val", "r", "a", "objectnet")]
        [1000, 200, 200, 125]
    """
    if name in ("r", "a"):
        return subset(R_SYNSETS if name == "r" else A_SYNSETS)
    if name == "objectnet":
        return tuple(sorted(index for one in covered() for index in one.classes))
    return tuple(range(len(wnids())))


def looks_like_class(name: str, folder: str) -> bool:
    """Whether a folder of this name can be a class folder of the set, so that the level of the classes is found."""
    if _WNID.fullmatch(folder) or folder.isdecimal():
        return True
    return name == "objectnet" and _plain(folder) in _names_of(name)


def is_class(name: str, text: str) -> bool:
    """Whether a class of the set can be called so: a number, one of its wnids, or an object of ObjectNet.

    Args:
        name: Short name of the set.
        text: What a folder or a label is called.

    Example:
        >>> is_class("a", "n01440764"), is_class("val", "n01440764"), is_class("objectnet", "Alarm clock")
        (False, True, True)
    """
    return text.isdecimal() or _plain(text) in _names_of(name)


def _plain(text: str) -> str:
    """Of `Coffee/French press`, `coffee_french_press` and the mixed `Coffee_French press` one form."""
    return _GAPS.sub(" ", text.lower())


@cache
def _names_of(name: str) -> frozenset[str]:
    found = {wnids()[index] for index in set_classes(name)}
    if name == "objectnet":
        found |= {_plain(called) for one in objects() for called in (one.folder, one.name)}
    return frozenset(found)


def imagenet_classes(name: str, names: Sequence[str]) -> tuple[int | None, ...]:
    """The ImageNet class of every class of a copy; for ObjectNet the canonical one.

    Args:
        name: Short name of the set.
        names: What the copy calls its classes: names of folders or of a table's labels, numbers as text.

    Returns:
        For each name its class 0 to 999; None for an ObjectNet object that no ImageNet class is.

    Raises:
        ValueError: If a name is none of the set, two names are one class, or numbers can be read in two ways.

    Example:
        >>> imagenet_classes("v2", ["0", "1", "10", "2"])
        (0, 1, 10, 2)
        >>> imagenet_classes("objectnet", ["alarm_clock", "squeegee"])
        (409, None)
        >>> imagenet_classes("r", [str(k) for k in range(200)])[:3]
        (1, 2, 4)
    """
    title = published(name).title
    if not names:
        raise ValueError(f"{title}: there is no class in it")
    if all(text.isdecimal() for text in names):
        found = _from_numbers(name, title, [int(text) for text in names])
    elif all(_WNID.fullmatch(text) for text in names):
        found = _from_wnids(name, title, names)
    elif name == "objectnet":
        found = _from_objects(title, names)
    else:
        found = _from_words(name, title, names)
    if name != "objectnet" or not (_WNID.fullmatch(names[0]) or names[0].isdecimal()):  # several are one object there
        _refuse_twins(title, names, found)
    return found


def _from_wnids(name: str, title: str, names: Sequence[str]) -> tuple[int | None, ...]:
    position = {wnid: index for index, wnid in enumerate(wnids())}
    classes = set(set_classes(name))
    unknown = [text for text in names if position.get(text) not in classes]
    if unknown:
        raise ValueError(
            f"{title} has no class {unknown[0]!r} ({len(unknown)} of {len(names)} are none of its "
            f"{len(classes)} classes): is it another set's folder?"
        )
    canonical = {index: one.classes[0] for one in covered() for index in one.classes} if name == "objectnet" else {}
    return tuple(canonical.get(position[text], position[text]) for text in names)


def _from_numbers(name: str, title: str, numbers: list[int]) -> tuple[int | None, ...]:
    """Classes counted from 0: ImageNet's own, or positions among those that the set covers."""
    classes = set_classes(name)
    if name == "objectnet":
        return _from_object_numbers(title, numbers)
    as_classes = set(numbers) <= set(classes)
    as_positions = max(numbers) < len(classes)
    if as_classes and as_positions and len(classes) < len(wnids()):
        raise ValueError(
            f"{title}: the labels {sorted(numbers)[:5]} can be ImageNet classes or positions among its {len(classes)} "
            "classes, and this copy has too few to tell; name them by wnid"
        )
    if not as_classes and not as_positions:
        wrong = next(number for number in numbers if number not in set(classes))
        raise ValueError(
            f"{title}: its labels are no ImageNet classes of it ({wrong} is none), and no positions among its "
            f"{len(classes)} classes ({max(numbers)} is too large)"
        )
    if as_positions and 0 not in numbers and len(classes) < len(wnids()):
        raise ValueError(
            f"{title}: the labels {sorted(numbers)[:5]} can be positions among its {len(classes)} classes that count "
            "from 0 or from 1, since there is no 0 among them; name them by wnid"
        )
    return tuple(classes[number] if as_positions else number for number in numbers)


def _from_object_numbers(title: str, numbers: list[int]) -> tuple[int | None, ...]:
    canonical = {index: one.classes[0] for one in covered() for index in one.classes}
    if min(numbers) > len(objects()) and set(numbers) <= set(canonical):  # ImageNet's own: its first is class 409
        return tuple(canonical[number] for number in numbers)
    whole = set(numbers) == set(range(len(covered())))
    every: Sequence[ObjectNetObject] = covered() if whole else objects()
    if max(numbers) < len(covered()) and not whole:
        raise ValueError(
            f"{title}: the labels {sorted(numbers)[:5]} can be positions among its {len(covered())} ImageNet objects "
            f"or among all {len(objects())}, and this copy has too few to tell; name them by object"
        )
    if max(numbers) >= len(every):
        raise ValueError(
            f"{title}: the label {max(numbers)} is no position among its {len(covered())} or {len(objects())} sorted "
            "folder names"
        )
    return tuple(every[number].classes[0] if every[number].classes else None for number in numbers)


def _from_objects(title: str, names: Sequence[str]) -> tuple[int | None, ...]:
    by_name = {_plain(text): one for one in objects() for text in (one.folder, one.name)}
    for text in names:
        if _plain(text) not in by_name:
            near = difflib.get_close_matches(_plain(text), by_name, n=1)
            hint = f"; did you mean {by_name[near[0]].folder!r}?" if near else ""
            raise ValueError(f"{title} has no object {text!r} among its {len(objects())}{hint}")
    found = [by_name[_plain(text)] for text in names]
    return tuple(one.classes[0] if one.classes else None for one in found)


def _from_words(name: str, title: str, names: Sequence[str]) -> tuple[int | None, ...]:
    """A full list of names in the set's own order, known by what most of them say."""
    classes = set_classes(name)
    if len(names) == len(classes):
        for known in (class_words(), class_names()):
            same = sum(_first(text) == _first(known[index]) for text, index in zip(names, classes, strict=True))
            if same >= _AGREEMENT * len(classes):
                return classes
    stray = [text for text in names if not (_WNID.fullmatch(text) or text.isdecimal())]
    raise ValueError(
        f"{title}: {_odd(stray, names)!r} is no class of it; its {len(classes)} classes are known by wnid (n01440764), "
        "by number, or by all of ImageNet's names in their order"
    )


def _odd(stray: Sequence[str], names: Sequence[str]) -> str:
    """What stands out: a word among wnids or numbers, or the kind that fewer are of."""
    if stray:
        return stray[0]
    wnid = [text for text in names if _WNID.fullmatch(text)]
    number = [text for text in names if text.isdecimal()]
    return (number if len(number) <= len(wnid) else wnid)[0]


def _first(words: str) -> str:
    return words.split(",")[0].strip().lower().replace("_", " ")


def _refuse_twins(title: str, names: Sequence[str], found: Sequence[int | None]) -> None:
    """Two folders for one class are one class twice: `1` beside `01`, or a display name beside the folder's."""
    first: dict[int, str] = {}
    for text, index in zip(names, found, strict=True):
        if index is not None and first.setdefault(index, text) != text:
            raise ValueError(f"{title}: {first[index]!r} and {text!r} are the same class")
