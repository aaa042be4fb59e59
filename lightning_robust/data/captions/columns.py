"""Which columns of a table of `datasets` hold captions, and which rows have one."""

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.hub_tables import columns_in_words

__all__ = ["caption_columns", "in_lines", "rows_with_pairs"]

#: Names that public sets give their captions, the likeliest first.
_CAPTION_COLUMNS: Final = ("caption", "captions", "txt", "text", "TEXT", "title", "sentences", "answer")
_AT_ONCE: Final = 10_000


def caption_columns(table: Any, given: str | None = None) -> tuple[str, ...]:
    """The columns with the captions of an image.

    Args:
        table: A `datasets.Dataset` or `datasets.IterableDataset` with known features.
        given: Their names with commas; None takes the first called caption, captions, txt, text, TEXT, title,
            sentences or answer, else all called caption_0, caption_1, …

    Raises:
        ValueError: If one is not there, or holds neither texts nor lists of them.
    """
    features = table.features
    if given is not None:
        columns = tuple(given.split(","))
    else:
        numbered = sorted((c for c in features if re.fullmatch(r"caption_\d+", c)), key=lambda c: int(c[8:]))
        columns = next(((name,) for name in _CAPTION_COLUMNS if name in features), tuple(numbered))
    if not columns:
        raise ValueError(f"which column holds the captions? name it as caption=; {columns_in_words(table)}")
    for column in columns:
        if column not in features:
            raise ValueError(f"no caption column {column!r}; the columns are {columns_in_words(table)}")
        if not _is_text(features[column]):
            raise ValueError(f"the column {column!r} holds neither texts nor lists of texts, but {features[column]}")
    return columns


def in_lines(columns: tuple[str, ...], lines: str | None) -> bool:
    """Whether each line of a text is a caption of its own: as asked, else in a column `txt`, as in tar shards.

    Raises:
        ValueError: If what is asked is neither `split` nor `keep`.
    """
    if lines not in (None, "split", "keep"):
        raise ValueError(f"lines must be 'split' or 'keep', got {lines!r}")
    return columns == ("txt",) if lines is None else lines == "split"


def rows_with_pairs(table: Any, image: str, columns: tuple[str, ...]) -> NDArray[np.int64]:
    """The rows of a `datasets.Dataset` that have an image and a text that is not blank; no image is read.

    Args:
        table: The data set.
        image: Its image column.
        columns: Its caption columns.

    Returns:
        Their numbers, ascending, `(n,)`.
    """
    good = list[NDArray[np.bool_]]()
    for part in table.select_columns([image, *columns]).with_format("arrow").iter(_AT_ONCE):
        said = np.zeros(len(part), dtype=np.bool_)
        for column in columns:
            said |= np.fromiter(map(_filled, part.column(column).to_pylist()), dtype=np.bool_, count=len(part))
        good.append(said & np.asarray(part.column(image).is_valid()))
    return np.flatnonzero(np.concatenate(good)) if good else np.zeros(0, dtype=np.int64)


def _is_text(feature: Any) -> bool:
    inner = getattr(feature, "feature", feature)  # of a list
    inner = inner[0] if isinstance(inner, list) and len(inner) == 1 else inner
    return getattr(inner, "dtype", None) in ("string", "large_string")


def _filled(value: Any) -> bool:
    return bool(value) and not (isinstance(value, str) and value.isspace())
