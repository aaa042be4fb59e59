"""Labelled images by a short text, as the command line takes it."""

from pathlib import Path
from typing import Final

from lightning_robust.data.labelled.csv_list import csv_list
from lightning_robust.data.labelled.folders import class_folders
from lightning_robust.data.labelled.source import LabelledSource
from lightning_robust.data.labelled.table import labelled_table

__all__ = ["LABELLED_SPECS", "open_labelled"]

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
    options: dict[str, str] = {}
    for part in tail.split("&") if mark else ():
        name, equals, value = part.partition("=")
        if not equals or not value or name not in _OPTIONS[kind] or name in options:
            raise ValueError(
                f"{part!r} in {spec!r} is no option; they are name=value with & between them, each once, and "
                f"{'a folder' if kind == 'folder' else repr(kind + ':')} takes {', '.join(_OPTIONS[kind])}"
            )
        options[name] = value
    return kind, path, options
