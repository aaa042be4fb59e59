"""A table of `datasets` with an image column and a label column: parquet files, or a data set of the Hub."""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.hub_tables import (
    TableImages,
    columns_in_words,
    image_column,
    local_files,
    open_table,
    short_name,
    with_split,
)
from lightning_robust.data.labelled.source import LabelledSource

__all__ = ["labelled_table", "table_source"]

_LABEL_COLUMNS: Final = ("label", "cls", "fine_label", "wnid", "class_name", "class", "target", "labels")


def labelled_table(
    kind: str, path: str, *, image: str | None = None, label: str | None = None, names: str | None = None,
    download: bool = False,
) -> LabelledSource:  # fmt: skip
    """Open `parquet:` or `hub:`.

    Args:
        kind: `"parquet"` or `"hub"`.
        path: A parquet file, a pattern of several or a folder; or an id; a split may stand behind a colon.
        image: The image column; None finds it by its type.
        label: The label column; None finds it by its type, else by its name.
        names: Names of whole-number labels 0, 1, …, with commas.
        download: Whether what is not on this machine may be fetched.

    Raises:
        ValueError: If it cannot be opened, or the columns are not of that form.
    """
    text, split = with_split(path)
    if kind == "parquet" and local_files(text) is None:
        raise ValueError(f"No file {text}: 'parquet:' takes a parquet file, a pattern of several, or a folder of them")
    table = open_table(text, split, download=download)
    return table_source(table, text, image=image, label=label, names=names)


def table_source(
    table: Any, text: str, *, image: str | None = None, label: str | None = None, names: str | None = None
) -> LabelledSource:
    """The images and labels of a `datasets.Dataset`.

    Labels are of type ClassLabel, whole numbers from 0, or texts (sorted).

    Args:
        table: The data set.
        text: What it was opened by.
        image: The image column; None finds it by its type, else takes one called image, img, jpg, png, webp or jpeg.
        label: The label column; None takes the only one of type ClassLabel, else the first called label, cls,
            fine_label, wnid, class_name, class, target or labels.
        names: Names of whole-number labels 0, 1, …, with commas; without them the numbers that occur are
            the names.

    Raises:
        ValueError: If a column is missing or not clear, or a label is missing or negative.

    Example:
        >>> import datasets
        >>> from PIL import Image
        >>> table = datasets.Dataset.from_dict({"jpg": [Image.new("RGB", (1, 1))] * 2, "cls": [1, 0]})
        >>> table_source(table, "small").counts()
        {'0': 1, '1': 1}
    """
    try:
        images = TableImages(table, image_column(table, image), text)
        column = _label_column(table, label, images.column)
        labels, classes = _labels(table, column, names.split(",") if names else None)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    digest = hashlib.sha256(labels.tobytes() + "\n".join(classes).encode()).hexdigest()[:8]
    source = f"{text}, split {table.split} ({len(labels)} images in {len(classes)} classes, {column}; {digest})"
    return LabelledSource(short_name(text), source, images, labels, classes)


def _label_column(table: Any, given: str | None, images: str) -> str:
    import datasets

    features = table.features
    if given is not None:
        if given not in features:
            raise ValueError(f"no label column {given!r}; the columns are {columns_in_words(table)}")
        return given
    typed = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    named = [column for column in _LABEL_COLUMNS if column in features and column != images]
    if len(typed) == 1:
        return str(typed[0])
    preferred = [column for column in named if not typed or column in typed]
    if not preferred:
        raise ValueError(f"which column holds the labels? name it as label=; the columns are {columns_in_words(table)}")
    return preferred[0]


def _labels(table: Any, column: str, names: list[str] | None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    # through arrow, so that no image is decoded and class labels stay numbers; selections are followed
    values = table.select_columns([column]).with_format("arrow")[:].column(column).to_pylist()
    if missing := [row for row, value in enumerate(values) if value is None]:
        raise ValueError(f"row {missing[0]}, column {column!r}: there is no label")
    if all(isinstance(value, str) for value in values):
        if names is not None:
            raise ValueError(f"the column {column!r} holds names already; leave names= out")
        classes = sorted(set(values))
        position = {name: index for index, name in enumerate(classes)}
        return np.array([position[value] for value in values]), tuple(classes)
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise ValueError(f"the column {column!r} holds neither whole numbers nor texts, but {table.features[column]}")
    labels = np.array(values, dtype=np.int64)
    if len(labels) and labels.min() < 0:
        raise ValueError(
            f"row {int(labels.argmin())}, column {column!r}: the label {labels.min()} is negative, which usually means "
            "that labels are held back; take another split"
        )
    known = names or getattr(table.features[column], "names", None)
    count = int(labels.max()) + 1 if len(labels) else 0
    if known is None:
        numbers, labels = np.unique(labels, return_inverse=True)
        return labels, tuple(map(str, numbers.tolist()))
    if count > len(known):
        raise ValueError(f"the column {column!r} has the label {count - 1}, but there are {len(known)} names")
    return labels, tuple(map(str, known))
