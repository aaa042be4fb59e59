"""Where the sets are below one folder, under the names that they are unpacked with and that people give them."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from lightning_robust.data.imagenet.labels import looks_like_class
from lightning_robust.data.imagenet.published import SETS, published
from lightning_robust.data.labelled.folders import sub_folders

__all__ = ["class_level", "locate", "locations"]

#: Folders below the root in which a set may lie, beside the root itself.
_NESTS: Final = (
    "", "imagenet", "ImageNet", "imagenet-1k", "imagenet1k", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC",
    "imagenet/ILSVRC/Data/CLS-LOC", "shifts", "datasets", "data",
)  # fmt: skip
#: How many folders that hold nothing but one more are stepped through, as in imagenet-r/imagenet-r.
_DEPTH: Final = 3


def locations(
    root: str | os.PathLike[str] | None, paths: Mapping[str, str] | None = None, v2: str = "matched-frequency"
) -> dict[str, str | None]:
    """Where every set is.

    Args:
        root: The folder that holds them, or None where `paths` names all that are wanted.
        paths: Places that go before what is found, by set: folders (relative ones are below the root where they are
            there, else below the working directory), or `hub:…`, `parquet:…`, `webdataset:…`, `csv:…`.
        v2: Which variant of ImageNet-V2.

    Returns:
        For each of train, val, v2, r, sketch, objectnet and a what `open_set` takes, None where nothing is found.

    Raises:
        ValueError: If the root is no folder, a place is given for no set, or neither root nor places are given.
    """
    given = dict(paths or {})
    if wrong := [name for name in given if name not in SETS]:
        raise ValueError(f"a place is given for {wrong[0]!r}, which is no set; they are {', '.join(SETS)}")
    if root is None and not given:
        raise ValueError("say where ImageNet is: root=FOLDER, or paths={'val': …}")
    top = None if root is None else Path(root).expanduser()
    if top is not None and not top.is_dir():
        raise ValueError(f"No folder {top}; it has to hold train, val and the folders of the shifts, or some of them")
    found = {name: None if top is None else locate(top, name, v2) for name in SETS}
    return {**found, **{name: _below(top, where) for name, where in given.items()}}


def _below(top: Path | None, where: str) -> str:
    if top is not None and not Path(where).is_absolute() and (top / where).is_dir():
        return str(top / where)
    return str(Path(where).expanduser()) if where.startswith("~") else where


def locate(top: Path, name: str, v2: str = "matched-frequency") -> str | None:
    """The folder of a set that holds its class folders.

    Args:
        top: Where to look.
        name: Short name of the set.
        v2: Which variant of ImageNet-V2.

    Returns:
        The folder; where only one of that name without class folders is there, that one; None where there is none.
    """
    first: Path | None = None
    for candidate in _candidates(top, name, v2):
        if not candidate.is_dir():
            continue
        level = class_level(candidate, name)
        if level is not None:
            return str(level)
        first = first or candidate
    return None if first is None else str(first)


def _candidates(top: Path, name: str, v2: str) -> Iterator[Path]:
    for nest in _NESTS:
        for folder in published(name, v2).folders:
            yield top / nest / folder


def class_level(folder: Path, name: str) -> Path | None:
    """The folder itself if class folders of the set lie in it, else the one below that holds nothing else.

    Args:
        folder: Where to look.
        name: Short name of the set.

    Returns:
        The folder with the class folders, None where there are none.
    """
    for _ in range(_DEPTH):
        below = sub_folders(folder)
        if any(looks_like_class(name, one) for one in below):
            return folder
        inner = below if len(below) == 1 else [one for one in below if one in ("images", "sketch", "data")][:1]
        if not inner:
            return None
        folder = folder / inner[0]
    return None
