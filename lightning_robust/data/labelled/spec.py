"""Labelled images by a short text, as the command line takes it."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from lightning_robust.data.hub_tables import local_files, open_splits, with_split
from lightning_robust.data.labelled.csv_list import csv_list, csv_list_with_splits
from lightning_robust.data.labelled.folders import class_folders, sub_folders
from lightning_robust.data.labelled.source import LabelledSource, in_words
from lightning_robust.data.labelled.table import labelled_table, table_source
from lightning_robust.data.spec_options import spec_options

__all__ = ["LABELLED_SPECS", "open_labelled", "open_split_sources"]

#: What `open_labelled` understands, with what each is and the options that it takes.
LABELLED_SPECS: Final = {
    "FOLDER": "a folder that holds a folder for each class",
    "csv:FILE": "a CSV list of images and their classes",
    "parquet:FILE[:SPLIT]": "an image column and a label column of a parquet file or folder",
    "hub:ID[:SPLIT]": "the same from the Hugging Face Hub",
}
_OPTIONS: Final = {
    "folder": ("order",),
    "csv": ("image", "label", "root"),
    "parquet": ("image", "label", "names"),
    "hub": ("image", "label", "names"),
}
#: Usual names of splits.
_SPLITS: Final = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


def open_labelled(spec: str, *, download: bool = False) -> LabelledSource:
    """Labelled images by a short text.

    Options stand behind a question mark, with `&` between them: `FOLDER?order=integer`,
    `csv:list.csv?image=file&label=species&root=images`, `hub:ID:test?label=fine_label`.

    Args:
        spec: A folder of class folders, `csv:FILE`, `parquet:FILE[:SPLIT]` or `hub:ID[:SPLIT]`.
        download: Whether a data set of the Hub that is not on this machine may be fetched.

    Returns:
        The images with their classes.

    Raises:
        ValueError: If there is nothing of that name, an option is none of that kind's, or it cannot be opened.
    """
    kind, path, options = parsed(spec)
    if kind == "csv":
        return csv_list(path, **options)
    if kind == "folder":
        if not Path(path).expanduser().is_dir():
            raise ValueError(f"No images {spec!r}: there is no such folder; what works: {', '.join(LABELLED_SPECS)}")
        return class_folders(path, **options)
    return labelled_table(kind, path, download=download, **options)


def open_split_sources(spec: str, *, download: bool = False) -> dict[str, LabelledSource]:
    """Labelled images by their splits, where what is named comes divided.

    Divided are a folder whose folders are called `train`, `val` and `test` (some of them, no others; `training`,
    `valid`, `validation` and `testing` count too), a table of several such splits, where the spec names none, and a CSV
    list with a column `split`.

    Args:
        spec: See `open_labelled`.
        download: Whether a data set of the Hub that is not on this machine may be fetched.

    Returns:
        Some of `train`, `val` and `test`, or `whole` alone.

    Raises:
        ValueError: See `open_labelled`; or if two splits would have the same name, folders of splits lie beside others,
            or a column `split` holds something else.
    """
    kind, path, options = parsed(spec)
    if kind == "folder" and (top := Path(path).expanduser()).is_dir() and (names := _split_folders(spec, top)):
        return {split: class_folders(top / name, **options) for split, name in _by_split(spec, names).items()}
    if kind == "csv":
        return _listed(spec, *csv_list_with_splits(path, **options))
    if kind in ("parquet", "hub") and with_split(path)[1] is None and (kind == "hub" or local_files(path)):
        tables = open_splits(path, download=download)
        if len(tables) == 1:
            return {"whole": table_source(next(iter(tables.values())), path, **options)}
        if all(name.lower() in _SPLITS for name in tables):
            chosen = _by_split(spec, list(tables))
            return {split: table_source(tables[name], path, **options) for split, name in chosen.items()}
    return {"whole": open_labelled(spec, download=download)}


def _split_folders(spec: str, top: Path) -> list[str]:
    """Names of the folders where all are splits, nothing where they are classes."""
    names = sub_folders(top)
    splits = [name for name in names if name.lower() in _SPLITS and sub_folders(top / name)]
    if splits and len(splits) < len(names):
        others = [name for name in names if name not in splits]
        raise ValueError(
            f"{spec} holds {in_words(splits)}, with folders in them as splits have, beside {in_words(others)}: its "
            f"folders are splits or classes, not both; move the others away, or name one split, {top / splits[0]}"
        )
    if not splits and len(names) > 1:
        inner = sub_folders(top / names[0])
        if len(inner) > 1 and all(sub_folders(top / name) == inner for name in names[1:]):
            warnings.warn(
                f"{spec}: {in_words(names)} are taken for classes, but each holds the same folders, {in_words(inner)}: "
                f"if these are the classes, name one domain, {top / names[0]}",
                stacklevel=3,
            )
    return splits


def _listed(spec: str, source: LabelledSource, cells: list[str] | None) -> dict[str, LabelledSource]:
    """A list by its column of splits, where it has one."""
    if cells is None:
        return {"whole": source}
    if wrong := [cell for cell in cells if cell.lower() not in _SPLITS]:
        raise ValueError(
            f"{spec}: the column 'split' has to hold train, val or test in every row, not {wrong[0]!r}; call it "
            "otherwise if it is to have no effect"
        )
    named = _by_split(spec, sorted(set(cells)))
    return {
        split: source.choose(np.flatnonzero([cell == name for cell in cells]), f"its {split} rows")
        for split, name in named.items()
    }


def _by_split(spec: str, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        split = _SPLITS[name.lower()]
        if split in found:
            raise ValueError(f"{spec}: {found[split]!r} and {name!r} are two names of one split; keep one of them")
        found[split] = name
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def parsed(spec: str) -> tuple[str, str, dict[str, str]]:
    """Kind, path and options of a spec.

    Raises:
        ValueError: If nothing is named, or an option is none of that kind's or not of its form.
    """
    text, mark, tail = (spec, "", "") if Path(spec).exists() else spec.partition("?")
    kind, colon, path = text.partition(":")
    if not colon or kind not in _OPTIONS or kind == "folder" or Path(text).exists():
        kind, path = "folder", text
    if not path:
        raise ValueError(f"No images {spec!r}; what works: {', '.join(LABELLED_SPECS)}")
    taker = "a folder" if kind == "folder" else repr(f"{kind}:")
    options = spec_options(tail, spec, _OPTIONS[kind], taker) if mark else {}
    return kind, path, options
