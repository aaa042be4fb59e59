"""Class folders: one folder for each class, its images anywhere below it."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from lightning_robust.data.labelled.source import LabelledSource, in_words
from lightning_robust.data.reading import ImageFiles

__all__ = ["IMAGE_SUFFIXES", "RUBBISH", "class_folders", "images_below", "sub_folders", "warn_of_other_endings"]

#: Endings of the files that are taken for images, upper and lower case alike.
IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
#: Endings of images that are not: they are counted and named.
_OTHER_SUFFIXES: Final = (
    ".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".jxl", ".tga", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw",
    ".svg", ".psd",
)  # fmt: skip
#: Folders that systems leave behind.
RUBBISH: Final = frozenset(
    {"__MACOSX", "__pycache__", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "System Volume Information"}
)


def class_folders(folder: str | os.PathLike[str], order: str = "name") -> LabelledSource:
    """Images in a folder that holds a folder for each class.

    Classes stand in the order of their folders' names, images in the order of their paths; what begins with a dot, and
    what systems leave behind (`__MACOSX`, `@eaDir`, `lost+found`), is passed over. A class folder without images is a
    class with none. Images with endings that do not count (`.heic`) are left out with a warning that counts them.

    Args:
        folder: The folder.
        order: `"name"`, or `"integer"` where the folders are numbers, as ImageNet-V2's are: 2 before 10.

    Returns:
        The images; classes are called as their folders are.

    Raises:
        ValueError: If the folder is missing, has no folder or no image in it, or a folder cannot be read, or
            folders are to be ordered as numbers and one is none, or two are the same.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("10", "2"):
        ...     (root / name).mkdir()
        ...     Image.new("RGB", (4, 4)).save(root / name / "a.png")
        >>> class_folders(root).class_names, class_folders(root, order="integer").class_names
        (('10', '2'), ('2', '10'))
    """
    top = Path(folder).expanduser()
    classes = _ordered(top, sub_folders(top), order)
    if not classes:
        raise ValueError(f"{top} has no folders in it; it has to hold one for each class")
    paths: list[str] = []
    labels: list[int] = []
    others: Counter[str] = Counter()
    for label, name in enumerate(classes):
        found = list(images_below(os.path.join(top, name), others))  # noqa: PTH118 - a million of them
        paths += found
        labels += [label] * len(found)
    warn_of_other_endings(top, others)
    if not paths:
        raise ValueError(
            f"No images in the {len(classes)} folders of {top} ({in_words(classes)}); endings that count: "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    name = top.resolve().name
    source = f"the folder {name} ({len(paths)} images in {len(classes)} classes; {_digest(top, paths)})"
    return LabelledSource(name, source, ImageFiles(paths), np.array(labels), tuple(classes), str(top))


def sub_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are passed over.

    Raises:
        ValueError: If there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"No folder {folder}")
    return [entry.name for entry in _entries(str(folder)) if _is_folder(entry)]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden, by name."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".") and entry.name not in RUBBISH]
    except OSError as error:
        raise ValueError(f"The folder {folder} cannot be read: {error.strerror}") from error
    return sorted(found, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _ordered(top: Path, names: Sequence[str], order: str) -> list[str]:
    if order == "name":
        return list(names)
    if order != "integer":
        raise ValueError(f"order must be 'name' or 'integer', got {order!r}")
    if wrong := [name for name in names if not (name.isascii() and name.isdecimal())]:
        raise ValueError(f"{top}: its folders are to be ordered as numbers, but {wrong[0]!r} is none")
    if len({int(name) for name in names}) < len(names):
        raise ValueError(f"{top}: two of its folders are the same number")
    return sorted(names, key=int)


def images_below(folder: str | os.PathLike[str], others: Counter[str] | None = None) -> Iterator[str]:
    """Paths of the images in a folder and in those below it, sorted folder by folder; each folder is gone into once.

    Args:
        folder: The folder.
        others: Takes the number of images with each ending that does not count.

    Raises:
        ValueError: If a folder cannot be read.
    """
    yield from _below(os.fspath(folder), Counter() if others is None else others, set())


def _below(folder: str, others: Counter[str], visited: set[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in visited:  # a link leads back
        return
    visited.add(real)
    below = []
    for entry in _entries(folder):
        name = entry.name.lower()
        if _is_folder(entry):
            below.append(entry.path)
        elif name.endswith(IMAGE_SUFFIXES):
            yield entry.path
        elif name.endswith(_OTHER_SUFFIXES):
            others[name[name.rindex(".") :]] += 1
    for path in below:
        yield from _below(path, others, visited)


def warn_of_other_endings(folder: Path, others: Counter[str]) -> None:
    """Say how many images with which endings are left out."""
    if others:
        listed = ", ".join(f"{others[ending]} {ending}" for ending in sorted(others))
        warnings.warn(
            f"{folder}: images whose endings do not count are left out: {listed}; endings that count: "
            f"{', '.join(IMAGE_SUFFIXES)}",
            stacklevel=3,
        )


def _digest(top: Path, paths: Sequence[str]) -> str:
    """Tells folders of one name apart: eight digits of a hash over the names of classes and files."""
    start = len(str(top)) + 1
    listed = "\n".join(path[start:] for path in paths)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()[:8]
