"""A table of image paths and captions as text, as open_clip's `CsvDataset` takes it."""

import csv
import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from PIL import Image

from lightning_robust.data.captions.texts import PackedTexts
from lightning_robust.data.reading import ImageFiles

__all__ = ["SEPARATORS", "ListedPairs", "listed_pairs"]

#: What an option can call a separator, which could not stand in a spec.
SEPARATORS: Final = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
#: How many paths are tried before not one of them counts as not there.
_TRIED: Final = 1000
_SHOWN: Final = 5


class ListedPairs:
    """Image files with a caption each.

    Args:
        paths: The files.
        captions: As many captions.
        source: See `CaptionedSource`.
    """

    def __init__(self, paths: PackedTexts, captions: PackedTexts, source: str) -> None:
        self.paths, self.captions, self.source = paths, captions, source
        self.blocks = [len(paths)]

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> tuple[Image.Image, tuple[str, ...]]:
        """See `CaptionedSource`."""
        return ImageFiles([self.paths[index]]).open(0), (self.captions[index],)


def listed_pairs(
    path: str | os.PathLike[str], *, image: str = "filepath", caption: str = "title", separator: str = "tab",
    root: str | None = None,
) -> ListedPairs:  # fmt: skip
    r"""Image–caption pairs of a text table; the defaults are open_clip's.

    Paths are relative to `root`, else to the table's folder (open_clip's are to the working directory). Rows without a
    path or a caption are left out with a warning that counts and names them. A file that is missing counts as
    unreadable when it is asked for. Texts are kept packed: about 150 bytes of memory for a pair.

    Args:
        path: The table, in UTF-8; its first line names the columns.
        image: The column of paths.
        caption: The column of captions.
        separator: `tab`, `comma`, `semicolon`, `pipe`, `space`, or one character.
        root: The folder that the paths are relative to; itself relative to the table's folder.

    Returns:
        The pairs, in the order of the table.

    Raises:
        ValueError: If the table is missing or damaged, lacks a column or pairs, or none of its images is there.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (4, 4)).save(folder / "a.png")
        >>> _ = (folder / "pairs.tsv").write_text("filepath\ttitle\na.png\ta small square\n")
        >>> listed_pairs(folder / "pairs.tsv").open(0)[1]
        ('a small square',)
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"No file {file}: it has to be a table with a column of image paths and one of captions")
    mark = SEPARATORS.get(separator, separator)
    if len(mark) != 1:
        raise ValueError(f"separator must be one of {', '.join(SEPARATORS)} or one character, got {separator!r}")
    base = file.parent / Path(root).expanduser() if root is not None else file.parent
    paths, captions, bare = PackedTexts(), PackedTexts(), list[int]()
    digest = hashlib.sha256()
    for line, name, text in _rows(file, mark, image, caption):
        if not name or not text:
            bare.append(line)
            continue
        digest.update(f"{name}\0{text}\0".encode())
        paths.append(os.path.normpath(base / name))
        captions.append(text)
    if not len(paths):
        raise ValueError(f"{file} lists no image with a caption")
    if not any(Path(paths[k]).is_file() for k in range(min(_TRIED, len(paths)))):
        raise ValueError(
            f"Not one of the first {min(_TRIED, len(paths))} images listed in {file} is there, the first of them "
            f"{paths[0]}; they are looked for in {base} (root= names another folder)"
        )
    source = f"the table {file.name} ({len(paths):,} pairs; {digest.hexdigest()[:8]})"
    if bare:
        _tell(file, bare, len(paths) + len(bare))
        source += f", without {len(bare)} rows that lack a path or a caption"
    return ListedPairs(paths, captions, source)


def _rows(file: Path, mark: str, image: str, caption: str) -> Iterator[tuple[int, str, str]]:
    """Line, path and caption of each row."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            yield from _read(text, file, mark, image, caption)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} cannot be read as a table in UTF-8: {error}") from error


def _read(text: TextIO, file: Path, mark: str, image: str, caption: str) -> Iterator[tuple[int, str, str]]:
    reader = csv.reader(text, delimiter=mark)
    columns = [name.strip() for name in next(reader, ())]
    for option, name in (("image", image), ("caption", caption)):
        if columns.count(name) != 1:
            raise ValueError(
                f"{file} has {'no column' if name not in columns else 'twice the column'} {name!r} between separators "
                f"{mark!r}; its header is {mark.join(columns)!r} (name the column by {option}=, or the separator by "
                f"separator={', '.join(SEPARATORS)})"
            )
    where = columns.index(image), columns.index(caption)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise ValueError(
                f"{file}, line {reader.line_num}: {len(cells)} cells, but the header has {len(columns)} columns"
            )
        yield reader.line_num, cells[where[0]].strip(), cells[where[1]].strip()


def _tell(file: Path, lines: list[int], total: int) -> None:
    more = ", …" if len(lines) > _SHOWN else ""
    shown = ", ".join(map(str, lines[:_SHOWN]))
    warnings.warn(
        f"{file}: {len(lines)} of {total} rows have no path or no caption (lines {shown}{more}); they are left out",
        stacklevel=3,
    )
