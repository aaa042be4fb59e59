"""A CSV list of images and their classes."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from lightning_robust.data.csv_tables import Row, read_table
from lightning_robust.data.labelled.source import LabelledSource
from lightning_robust.data.reading import ImageFiles

__all__ = ["csv_list", "csv_list_with_splits"]

_IMAGE_COLUMNS: Final = ("path", "image", "file", "filename", "file_name", "image_path")
_LABEL_COLUMNS: Final = ("label", "class", "class_name", "target", "wnid")


def csv_list(
    path: str | os.PathLike[str], *, image: str | None = None, label: str | None = None, root: str | None = None
) -> LabelledSource:
    r"""Images listed in a CSV file with a column of paths and one of classes.

    Classes are texts, sorted; where every one is a whole number they are sorted as numbers. Paths are relative to
    `root`, else to the file's folder; a listed file that is missing counts as unreadable when it is read.

    Args:
        path: The CSV file, in UTF-8; its first line names the columns.
        image: The column of paths; None takes the only one called path, image, file, filename, file_name or image_path.
        label: The column of classes; None takes the only one called label, class, class_name, target or wnid.
        root: The folder that the paths are relative to; itself relative to the file's folder.

    Returns:
        The images, in the order of the file.

    Raises:
        ValueError: If the file is missing or damaged, it is not clear which columns are meant, a cell is empty, an
            image is listed twice, a label is negative, or not one of the files is there.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "list.csv").write_text("path,label\na.png,dog\n")
        >>> Image.new("RGB", (4, 4)).save(folder / "a.png")
        >>> csv_list(folder / "list.csv").counts()
        {'dog': 1}
    """
    return csv_list_with_splits(path, image=image, label=label, root=root)[0]


def csv_list_with_splits(
    path: str | os.PathLike[str], *, image: str | None = None, label: str | None = None, root: str | None = None
) -> tuple[LabelledSource, list[str] | None]:
    """See `csv_list`; with what the column `split` says of each image, None where there is no such column."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"No file {file}: it has to be a CSV list with a column of paths and one of classes")
    columns, rows = read_table(file)
    image = _column(file, columns, image, _IMAGE_COLUMNS, "image", "the paths")
    label = _column(file, columns, label, _LABEL_COLUMNS, "label", "the classes")
    if not rows:
        raise ValueError(f"{file} lists no images")
    names = [_cell(row, label) for row in rows]
    base = file.parent / Path(root).expanduser() if root is not None else file.parent
    paths = _paths(file, rows, image, base)
    classes = sorted(set(names), key=int) if all(map(_is_whole, names)) else sorted(set(names))
    if classes[0].startswith("-") and _is_whole(classes[0]):
        raise ValueError(f"{file}: the label {classes[0]} is negative, which usually means that it is held back")
    position = {name: index for index, name in enumerate(classes)}
    split = next((column for column in columns if column.lower() == "split" and column not in (image, label)), None)
    splits = None if split is None else [row.cells[split] for row in rows]
    cells = (image, label) if split is None else (image, label, split)
    listed = "\n".join(",".join(row.cells[cell] for cell in cells) for row in rows)
    digest = hashlib.sha256(listed.encode()).hexdigest()[:8]
    source = f"the list {file.name} ({len(rows)} images in {len(classes)} classes; {digest})"
    labels = np.array([position[name] for name in names])
    return LabelledSource(file.stem, source, ImageFiles(paths), labels, tuple(classes), os.path.normpath(base)), splits


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii()


def _column(file: Path, columns: Sequence[str], given: str | None, usual: Sequence[str], option: str, of: str) -> str:
    if given is not None:
        if given not in columns:
            raise ValueError(f"{file} has no column {given!r}; its header is {','.join(columns)!r}")
        return given
    found = [column for column in columns if column.lower() in usual]
    if len(found) != 1:
        raise ValueError(
            f"Which column of {file} holds {of}? Name it as {option}=; its header is {','.join(columns)!r}"
        )
    return found[0]


def _cell(row: Row, column: str) -> str:
    if not row.cells[column]:
        raise ValueError(f"{row.where}, column {column!r}: it is empty")
    return row.cells[column]


def _paths(file: Path, rows: Sequence[Row], column: str, base: Path) -> list[str]:
    if not base.is_dir():
        raise ValueError(f"No folder {base}, which the paths in {file} are relative to")
    first: dict[str, Row] = {}
    for row in rows:
        cell = _cell(row, column)
        path = os.path.normpath(base / cell)
        if path in first:
            raise ValueError(f"{row.where}: the image {cell!r} is listed before, {first[path].where}")
        first[path] = row
    paths = list(first)
    if not any(Path(path).is_file() for path in paths):
        raise ValueError(
            f"Not one of the {len(paths)} images listed in {file} is there, the first of them {paths[0]}; they are "
            f"looked for in {base} (root= names another folder)"
        )
    return paths
