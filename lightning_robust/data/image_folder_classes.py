"""Classes of a shift matched by name with those of the reference, and what does not match."""

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_robust.data.labelled.source import LabelledSource, in_words

__all__ = ["ClassMatch", "match_classes", "normal_form"]


@dataclass(frozen=True)
class ClassMatch:
    """How the classes of a source stand to those of the reference.

    Attributes:
        targets: For each class of the source its reference class, −1 where it has none.
        unmatched: Classes of the source that have images and no reference class, with the number of images.
        covered: Reference classes with at least one image, ascending.
        used: Keys of the class map that were used.
    """

    targets: tuple[int, ...]
    unmatched: dict[str, int]
    covered: tuple[int, ...]
    used: frozenset[str] = frozenset()


def normal_form(name: str) -> str:
    """A class name without its spelling: case, underscores, spaces and hyphens do not count.

    Nor does how an accent is written, as one character or two: file systems differ in it.

    Example:
        >>> normal_form("Hot_Dog"), normal_form("hot-dog")
        ('hot dog', 'hot dog')
    """
    return unicodedata.normalize("NFC", re.sub(r"[\s_-]+", " ", name).strip().casefold())


def match_classes(
    source: LabelledSource, classes: Sequence[str], class_map: Mapping[str, str] | None = None
) -> ClassMatch:
    """Find the reference class of each class of a source.

    The class map goes first, then the same name, then the same name but for its spelling.

    Args:
        source: The images of a shift.
        classes: The reference's classes.
        class_map: Reference class for a class of a shift; both may be spelt in any way.

    Raises:
        ValueError: If a name fits two reference classes, or the class map names a reference class that is none.

    Example:
        >>> import numpy as np
        >>> from lightning_robust.data.reading import ImageFiles
        >>> toys = LabelledSource("toys", "two toys", ImageFiles(["a", "b"]), np.array([0, 1]), ("Hot_Dog", "yo-yo"))
        >>> match_classes(toys, ["cat", "hot dog"])
        ClassMatch(targets=(1, -1), unmatched={'yo-yo': 1}, covered=(1,), used=frozenset())
    """
    exact = {name: index for index, name in enumerate(classes)}
    alike: dict[str, list[int]] = {}
    for index, name in enumerate(classes):
        alike.setdefault(normal_form(name), []).append(index)
    mapped = {normal_form(key): key for key in class_map or {}}
    used: set[str] = set()
    targets: list[int] = []
    for name in source.class_names:
        wanted = name
        if (key := mapped.get(normal_form(name))) is not None and class_map is not None:
            used.add(key)
            wanted = class_map[key]
        found = [exact[wanted]] if wanted in exact else alike.get(normal_form(wanted), [])
        if len(found) > 1:
            raise ValueError(
                f"The class {wanted!r} of {source.name} could be each of {in_words([classes[i] for i in found])} of "
                "the reference; class_map can say which"
            )
        if not found and wanted != name:
            raise ValueError(
                f"class_map takes {name!r} for {wanted!r}, which is no class of the reference{near(wanted, classes)}"
            )
        targets.append(found[0] if found else -1)
    counts = np.bincount(source.labels, minlength=len(source.class_names)).tolist()
    rows = [row for row in zip(source.class_names, counts, targets, strict=True) if row[1]]
    unmatched = {name: n for name, n, target in rows if target < 0}
    covered = sorted({target for _, _, target in rows if target >= 0})
    return ClassMatch(tuple(targets), unmatched, tuple(covered), frozenset(used))


def near(name: str, classes: Sequence[str]) -> str:
    """`; near names: 'a', 'b'`, or nothing."""
    by_form = {normal_form(known): known for known in classes}
    close = difflib.get_close_matches(normal_form(name), by_form, n=3, cutoff=0.6)
    return f"; near names: {', '.join(repr(by_form[form]) for form in close)}" if close else ""
