"""Class folders: one folder for each class, its images anywhere below it."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from lightning_robust.data.labelled.source import LabelledSource, in_words
from lightning_robust.data.reading import ImageFiles

__all__ = ["IMAGE_SUFFIXES", "class_folders", "sub_folders"]

#: Endings of the files that are taken for images, upper and lower case alike.
IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


def class_folders(folder: str | os.PathLike[str], order: str = "name") -> LabelledSource:
    """Images in a folder that holds a folder for each class.

    Classes stand in the order of their folders' names, images in the order of their paths; what begins with a dot, and
    `__MACOSX`, is passed over. A class folder without images is a class with none.

    Args:
        folder: The folder.
        order: `"name"`, or `"integer"` where the folders are numbers, as ImageNet-V2's are: 2 before 10.

    Returns:
        The images; classes are called as their folders are.

    Raises:
        ValueError: If the folder is missing, has no folder or no image in it, or folders are to be ordered as numbers
            and one is none, or two are the same.

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
    for label, name in enumerate(classes):
        found = list(_images_below(os.path.join(top, name)))  # noqa: PTH118 - a million of them
        paths += found
        labels += [label] * len(found)
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
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not _hidden(entry.name) and entry.is_dir())


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


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


def _images_below(folder: str) -> Iterator[str]:
    """Paths of the images in a folder and in those below it, sorted folder by folder."""
    with os.scandir(folder) as entries:
        found = sorted((entry for entry in entries if not _hidden(entry.name)), key=lambda entry: entry.name)
    below = []
    for entry in found:
        if entry.name.lower().endswith(IMAGE_SUFFIXES):
            yield entry.path
        elif entry.is_dir():
            below.append(entry.path)
    for path in below:
        yield from _images_below(path)


def _digest(top: Path, paths: Sequence[str]) -> str:
    """Tells folders of one name apart: eight digits of a hash over the names of classes and files."""
    start = len(str(top)) + 1
    listed = "\n".join(path[start:] for path in paths)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()[:8]
