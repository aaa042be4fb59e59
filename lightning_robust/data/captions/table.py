"""Image–caption pairs in a table of `datasets`: parquet files, or a data set of the Hub."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_robust.data.captions.columns import caption_columns, in_lines, rows_with_pairs
from lightning_robust.data.captions.texts import as_captions
from lightning_robust.data.hub_tables import TableImages, image_column, local_files, open_table, with_split
from lightning_robust.data.reading import UnreadableImageError, reason

__all__ = ["TablePairs", "captioned_table", "table_pairs"]

_SHOWN = 5


class TablePairs:
    """Some rows of a table, with an image and captions each.

    Args:
        images: The image column.
        texts: The table with the caption columns alone.
        rows: Which rows.
        lines: Whether each line of a text is a caption of its own.
        source: See `CaptionedSource`.
    """

    def __init__(self, images: TableImages, texts: Any, rows: NDArray[np.int64], *, lines: bool, source: str) -> None:
        self.images, self.texts, self.rows, self.lines, self.source = images, texts, rows, lines, source
        self.blocks = [len(rows)]

    def __len__(self) -> int:
        return len(self.rows)

    def open(self, index: int) -> tuple[Image.Image, tuple[str, ...]]:
        """See `CaptionedSource`."""
        row = int(self.rows[index])
        image = self.images.open(row)
        try:
            values = self.texts[row].values()
            captions = tuple(text for value in values for text in as_captions(value, lines=self.lines))
        except Exception as error:  # damaged text raises several kinds of error, and each means the same
            raise UnreadableImageError(f"row {row} of {self.images.name}: {reason(error)}") from error
        if not captions:
            raise UnreadableImageError(f"row {row} of {self.images.name}: there is no caption")
        return image, captions


def captioned_table(
    kind: str, path: str, *, image: str | None = None, caption: str | None = None, lines: str | None = None,
    download: bool = False,
) -> TablePairs:  # fmt: skip
    """Open `parquet:` or `hub:`.

    Args:
        kind: `"parquet"` or `"hub"`.
        path: A parquet file, a pattern of several or a folder; or an id; a split may stand behind a colon.
        image: The image column; None finds it by its type.
        caption: The caption columns, with commas; None finds them by name, see `caption_columns`.
        lines: `split` or `keep`, see `in_lines`.
        download: Whether what is not on this machine may be fetched.

    Raises:
        ValueError: If it cannot be opened, or the columns are not of that form.
    """
    text, split = with_split(path)
    if kind == "parquet" and local_files(text) is None:
        raise ValueError(f"No file {text}: 'parquet:' takes a parquet file, a pattern of several, or a folder of them")
    return table_pairs(open_table(text, split, download=download), text, image=image, caption=caption, lines=lines)


def table_pairs(
    table: Any, text: str, *, image: str | None = None, caption: str | None = None, lines: str | None = None
) -> TablePairs:
    """The pairs of a `datasets.Dataset`.

    Rows without an image or with blank captions alone are left out, with a warning that counts and names them.

    Args:
        table: The data set.
        text: What it was opened by.
        image: The image column; None finds it.
        caption: The caption columns; None finds them.
        lines: `split` or `keep`, see `in_lines`.

    Raises:
        ValueError: If a column is missing or not clear, or no row has an image and a caption.

    Example:
        >>> import datasets
        >>> red = Image.new("RGB", (1, 1), "red")
        >>> table = datasets.Dataset.from_dict({"image": [red], "caption_0": ["a red dot"], "caption_1": ["a dot"]})
        >>> table_pairs(table, "small").open(0)[1]
        ('a red dot', 'a dot')
    """
    try:
        images = TableImages(table, image_column(table, image), text)
        columns = caption_columns(table, caption)
        split = in_lines(columns, lines)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    rows = rows_with_pairs(table, images.column, columns)
    if not len(rows):
        raise ValueError(f"{text}: no row has an image and a caption ({', '.join(columns)})")
    source = f"{text}, split {table.split} ({len(rows):,} pairs, {images.column} and {', '.join(columns)})"
    if missing := len(table) - len(rows):
        named = np.setdiff1d(np.arange(len(table)), rows)[:_SHOWN].tolist()
        more = ", …" if missing > _SHOWN else ""
        warnings.warn(
            f"{text}: {missing} of {len(table)} rows have no image or no caption (rows "
            f"{', '.join(map(str, named))}{more}); they are left out",
            stacklevel=3,
        )
        source += f", without {missing} rows that lack one of them"
    return TablePairs(images, table.select_columns(list(columns)), rows, lines=split, source=source)
