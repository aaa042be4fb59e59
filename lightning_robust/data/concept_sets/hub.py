"""A data set of the Hub, or parquet files, with multi-label columns as a concept set."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.concept_sets.concept_set import ConceptSet, Transform
from lightning_robust.data.concept_sets.image_folder import DEFAULT_CATEGORY
from lightning_robust.data.hub_tables import (
    TableImages,
    columns_in_words,
    image_column,
    open_table,
    short_name,
)

__all__ = ["hub_concepts"]


def hub_concepts(
    source: str | os.PathLike[str] | Any,
    transform: Transform | None = None,
    *,
    split: str | None = None,
    image: str | None = None,
    labels: str | Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    download: bool = False,
) -> ConceptSet:
    """Images of a table with either columns that list labels, or columns that say yes or no.

    * A column of lists (of class labels, whole numbers or texts): what is listed is there, all else is not; a row
      with null instead of a list is unknown for every concept of that column. A field of a list of records is
      named with a dot: `objects.name`. A column of single class labels counts as lists of one (−1 as null). With
      several such columns each is a category, and concepts are named `column:label`.
    * Columns of booleans, or of 1 and 0: one concept each; null (or −1) is unknown. What stands before a colon in
      the column's name is its category.

    Args:
        source: A parquet file or a pattern of several, a folder, an id of the Hub, or a `datasets.Dataset`.
        transform: From a PIL image to a tensor.
        split: Which split; None where there is only one.
        image: The image column; None finds it by its type.
        labels: The label columns; None takes the only list column, else all columns of booleans or of 1, 0 and null.
        names: Names of whole-number labels 0, 1, …; without them the numbers that occur are the names.
        download: Whether what is not on this machine may be fetched.

    Returns:
        The concept set, in the order of the table.

    Raises:
        ValueError: If it cannot be opened (see `open_table`), the columns are not of that form, or it is not clear
            which are meant.

    Example:
        >>> import datasets
        >>> from PIL import Image
        >>> pixel = Image.new("RGB", (1, 1))
        >>> table = datasets.Dataset.from_dict({"image": [pixel] * 3, "tags": [["cat"], None, ["dog", "cat"]]})
        >>> tags = hub_concepts(table)
        >>> tags.concepts, tags.all_labels().tolist()
        (('cat', 'dog'), [[1, 0], [-1, -1], [1, 1]])
    """
    if isinstance(source, str | os.PathLike):
        table, text = open_table(source, split, download=download), os.fspath(source)
        name = short_name(text)
    else:
        table, text, name = source, "a table in memory", "table"
    try:
        images = TableImages(table, image_column(table, image), text)
        chosen = _label_columns(table, labels, {images.column})
        blocks = [_block(table, column, names, alone=len(chosen) == 1) for column in chosen]
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    concepts = [concept for block in blocks for concept in block[0]]
    categories = [category for block in blocks for category in block[1]]
    matrix = np.concatenate([block[2] for block in blocks], axis=1)
    said = f"{text}, split {split or table.split}, labels from {', '.join(chosen)}"
    return ConceptSet(name, said, concepts, categories, images, matrix, transform)


def _label_columns(table: Any, labels: str | Sequence[str] | None, taken: set[str]) -> list[str]:
    if labels is not None:
        chosen = [labels] if isinstance(labels, str) else list(labels)
        if wrong := [
            column
            for column in chosen
            if column.partition(".")[0] not in table.features and column not in table.features
        ]:
            raise ValueError(f"no label column {wrong[0]!r}; the columns are {columns_in_words(table)}")
        if not chosen or len(set(chosen)) < len(chosen):
            raise ValueError(f"labels must name one or more columns, each once; got {chosen}")
        return chosen
    lists = [column for column, feature in table.features.items() if _listed(feature) is not None]
    flags = [column for column in table.features if column not in taken and _is_flag(table, column)]
    if len(lists) == 1 and not flags:
        return lists
    if flags and not lists:
        return flags
    raise ValueError(f"which columns hold the labels? name them as labels=; the columns are {columns_in_words(table)}")


def _listed(feature: Any) -> Any:
    """What a list column lists, or None where it is no list of labels."""
    import datasets

    inner = getattr(feature, "feature", feature if isinstance(feature, datasets.ClassLabel) else None)
    if isinstance(inner, datasets.ClassLabel):
        return inner
    is_label = isinstance(inner, datasets.Value) and (inner.dtype in ("string", "large_string") or "int" in inner.dtype)
    return inner if is_label else None


def _is_flag(table: Any, column: str) -> bool:
    dtype = getattr(table.features[column], "dtype", "")
    if dtype == "bool":
        return True
    return (
        not hasattr(table.features[column], "names")
        and "int" in dtype
        and set(_values(table, column)) <= {0, 1, -1, None}
    )


def _block(
    table: Any, column: str, names: Sequence[str] | None, *, alone: bool
) -> tuple[list[str], list[str], NDArray[np.int8]]:
    """The concepts of one column, their categories, and their labels `(n, concepts)`."""
    if column in table.features and _listed(table.features[column]) is None:
        return _flag_block(table, column)
    rows, inner = _lists(table, column)
    concepts, position = _vocabulary(rows, inner, names, column)
    matrix = np.zeros((len(rows), len(concepts)), dtype=np.int8)
    for i, row in enumerate(rows):
        if row is None:
            matrix[i] = -1
            continue
        for label in row:
            if label not in position:
                raise ValueError(
                    f"row {i}, column {column!r}: the label {label!r} is none of the {len(concepts)} named"
                )
            matrix[i, position[label]] = 1
    shown = concepts if alone else [f"{column}:{concept}" for concept in concepts]
    return shown, [DEFAULT_CATEGORY if alone else column] * len(concepts), matrix


def _flag_block(table: Any, column: str) -> tuple[list[str], list[str], NDArray[np.int8]]:
    if not _is_flag(table, column):
        raise ValueError(
            f"the column {column!r} holds neither lists of labels nor 1, 0 and null; it is {table.features[column]}"
        )
    values = [-1 if value is None else int(value) for value in _values(table, column)]
    category, colon, _ = column.partition(":")
    return [column], [category if colon else DEFAULT_CATEGORY], np.array(values, dtype=np.int8)[:, None]


def _lists(table: Any, column: str) -> tuple[list[list[Any] | None], Any]:
    """The labels of each row (None where it has no list) and the type of a label, if there is one."""
    if column in table.features:
        return [_as_list(row) for row in _values(table, column)], _listed(table.features[column])
    outer, _, field = column.partition(".")
    rows: list[list[Any] | None] = []
    for i, row in enumerate(_values(table, outer)):
        records = row.get(field) if isinstance(row, dict) else row
        if isinstance(row, list):
            if not all(isinstance(record, dict) and field in record for record in row):
                raise ValueError(f"row {i}: the column {outer!r} is no list of records with a field {field!r}")
            records = [record[field] for record in row]
        if records is not None and not isinstance(records, list):
            raise ValueError(f"row {i}: the field {column!r} is no list")
        rows.append(_as_list(records))
    inner = getattr(table.features[outer], "feature", table.features[outer])
    inner = inner.get(field) if isinstance(inner, dict) else None
    return rows, getattr(inner, "feature", inner)


def _values(table: Any, column: str) -> list[Any]:
    # through arrow, so that no image is decoded and class labels stay numbers; selections are followed
    return list(table.select_columns([column]).with_format("arrow")[:].column(column).to_pylist())


def _as_list(row: Any) -> list[Any] | None:
    if isinstance(row, list):
        return [label for label in row if label is not None]
    return None if row is None or row == -1 else [row]


def _vocabulary(
    rows: list[list[Any] | None], inner: Any, names: Sequence[str] | None, column: str
) -> tuple[list[str], dict[Any, int]]:
    """Names of the concepts, and the position of each label as it stands in the table."""
    known = names or getattr(inner, "names", None)
    seen = sorted({label for row in rows if row is not None for label in row})
    if any(not isinstance(label, int | str) for label in seen):
        raise ValueError(
            f"the column {column!r} lists neither whole numbers nor texts; its labels are like {seen[0]!r}"
        )
    if known is None:
        return [str(label) for label in seen], {label: i for i, label in enumerate(seen)}
    if seen and isinstance(seen[0], str):
        return list(known), {label: i for i, label in enumerate(known)}
    return list(known), dict(zip(range(len(known)), range(len(known)), strict=True))
