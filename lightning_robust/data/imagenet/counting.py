"""Counting the images of a copy class by class, fast enough for a million of them, and opening a sample of them."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lightning_robust.data.image_sets import spread
from lightning_robust.data.labelled.folders import IMAGE_SUFFIXES, RUBBISH
from lightning_robust.data.reading import ImageFiles

__all__ = ["ClassCount", "count_folders", "sample_of"]

#: Listing waits for the file system, more so on a shared one.
_THREADS: Final = 8


@dataclass(frozen=True)
class ClassCount:
    """What lies in a class folder.

    Attributes:
        name: Name of the folder.
        images: Files with the ending of an image, in it and below.
        other: A file with another ending, None where there is none.
    """

    name: str
    images: int
    other: str | None


def count_folders(folder: Path) -> list[ClassCount]:
    """Images in every class folder, folders in the order of their names.

    Args:
        folder: The folder that holds them; what begins with a dot, and what systems leave behind, is passed over.

    Raises:
        OSError: If a folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not _hidden(entry.name) and entry.is_dir())
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda name: _count(folder, name), names))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in RUBBISH


def _count(folder: Path, name: str) -> ClassCount:
    images, other = 0, None
    for path in _files(os.path.join(folder, name)):  # noqa: PTH118 - a million of them
        if path.lower().endswith(IMAGE_SUFFIXES):
            images += 1
        else:
            other = other or path
    return ClassCount(name, images, other)


def _files(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _hidden(entry.name):
                continue
            if entry.is_dir():
                yield from _files(entry.path)
            else:
                yield entry.path


def sample_of(folder: Path, counts: Sequence[ClassCount], n: int) -> ImageFiles:
    """Evenly spaced images of a folder of class folders; only the folders that they lie in are listed again.

    Args:
        folder: The folder that holds the class folders.
        counts: What lies in them.
        n: How many images.

    Returns:
        The images, in the order of their classes and names.
    """
    wanted: dict[str, list[int]] = {}
    total = sum(count.images for count in counts)
    places, start = iter(spread(total, n)), 0
    place = next(places, total)
    for count in counts:
        while place < start + count.images:
            wanted.setdefault(count.name, []).append(place - start)
            place = next(places, total)
        start += count.images
    files: list[str] = []
    for name, offsets in wanted.items():
        listed = sorted(path for path in _files(str(folder / name)) if path.lower().endswith(IMAGE_SUFFIXES))
        files += [listed[offset] for offset in offsets]
    return ImageFiles(files)
