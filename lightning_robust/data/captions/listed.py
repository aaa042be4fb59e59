"""Image files with captions, listed in a table as open_clip's `CsvDataset` takes it, or in JSON."""

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any, Final

from PIL import Image

from lightning_robust.data.captions.rows import csv_rows, json_rows
from lightning_robust.data.captions.texts import PackedTexts, as_captions
from lightning_robust.data.reading import ImageFiles

__all__ = ["ListedPairs", "listed_pairs"]

#: How many paths are tried before not one of them counts as not there.
_TRIED: Final = 1000
_SHOWN: Final = 5
#: Between several captions of an image.
_MARK: Final = "\0"


class ListedPairs:
    """Image files with captions.

    Args:
        paths: The files.
        captions: For each its captions, with NUL between them.
        source: See `CaptionedSource`.
    """

    def __init__(self, paths: PackedTexts, captions: PackedTexts, source: str) -> None:
        self.paths, self.captions, self.source = paths, captions, source
        self.blocks = [len(paths)]

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> tuple[Image.Image, tuple[str, ...]]:
        """See `CaptionedSource`."""
        return ImageFiles([self.paths[index]]).open(0), tuple(self.captions[index].split(_MARK))


def listed_pairs(
    path: str | os.PathLike[str], kind: str = "csv", *, image: str = "filepath", caption: str = "title",
    folder: str | None = None, root: str | None = None, separator: str | None = None,
) -> ListedPairs:  # fmt: skip
    r"""Image–caption pairs of a table or of JSON (a list of objects, or one in each line); defaults are open_clip's.

    Paths are relative to `root`, else to the list's folder (open_clip's are to the working directory). Rows without a
    path or a caption are left out with a warning that counts and names them. A file that is missing counts as
    unreadable when it is asked for. Texts are kept packed: about 150 bytes of memory for a pair.

    ImageNet-Captions (Fang et al. 2022, arXiv 2205.01397) beside a copy of ImageNet is
    `json:imagenet_captions.json?image=filename&folder=wnid&root=ILSVRC/train&caption=title`.

    Args:
        path: The list, in UTF-8; the first line of a table names its columns.
        kind: `"csv"` or `"json"`.
        image: The column of paths.
        caption: The column of captions, or several with commas, each a caption of its own; in JSON one may hold a list.
        folder: A column whose cell is put before the path.
        root: The folder that the paths are relative to; itself relative to the list's folder.
        separator: Of a table: `tab` (where it is None), `comma`, `semicolon`, `pipe`, `space`, or one character.

    Returns:
        The pairs, in the order of the list.

    Raises:
        ValueError: If the list is missing or damaged, lacks a column or pairs, or none of its images is there.

    Example:
        >>> import tempfile
        >>> here = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (4, 4)).save(here / "a.png")
        >>> _ = (here / "pairs.tsv").write_text("filepath\ttitle\na.png\ta small square\n")
        >>> listed_pairs(here / "pairs.tsv").open(0)[1]
        ('a small square',)
    """
    file = Path(path).expanduser()
    if not os.path.isfile(file):  # noqa: PTH113 - a Path has an error of its own where a name is too long
        raise ValueError(f"No file {file}: it has to be a list with paths of images and their captions")
    columns = caption.split(",")
    needs = {"image": image, **{f"caption {k}": name for k, name in enumerate(columns)}}
    needs |= {} if folder is None else {"folder": folder}
    rows = json_rows(file, needs) if kind == "json" else csv_rows(file, needs, separator or "tab")
    base = str(file.parent / Path(root).expanduser() if root is not None else file.parent)
    paths, captions, bare, digest = PackedTexts(), PackedTexts(), list[int](), hashlib.sha256()
    for number, row in rows:
        name, texts = _cells(file, number, row, image, folder, columns)
        if not name or not texts:
            bare.append(number)
            continue
        joined = _MARK.join(text.replace(_MARK, " ") for text in texts)
        digest.update(f"{name}{_MARK}{joined}{_MARK}".encode(errors="surrogatepass"))
        paths.append(os.path.normpath(os.path.join(base, name)))  # noqa: PTH118 - a Path for each of millions is slow
        captions.append(joined)
    _check_paths(file, paths, base)
    source = f"the list {file.name} ({len(paths):,} pairs; {digest.hexdigest()[:8]})"
    if bare:
        _tell(file, bare, len(paths) + len(bare))
        source += f", without {len(bare)} rows that lack a path or a caption"
    return ListedPairs(paths, captions, source)


def _cells(
    file: Path, number: int, row: dict[str, Any], image: str, folder: str | None, columns: list[str]
) -> tuple[str, list[str]]:
    """Path and captions of a row."""
    name, above = row.get(image), None if folder is None else row.get(folder)
    try:
        texts = [text for column in columns for text in as_captions(row.get(column))]
    except ValueError as error:
        raise ValueError(f"{file}, row {number}: {error}") from error
    if not isinstance(name, str) or (folder is not None and not isinstance(above, str)):
        return "", texts
    name = name.strip()
    return (name if above is None or not name else f"{str(above).strip()}/{name}"), texts


def _check_paths(file: Path, paths: PackedTexts, base: str) -> None:
    if not len(paths):
        raise ValueError(f"{file} lists no image with a caption")
    tried = min(_TRIED, len(paths))
    if not any(os.path.isfile(paths[k]) for k in range(tried)):  # noqa: PTH113
        raise ValueError(
            f"Not one of the first {tried} images listed in {file} is there, the first of them {paths[0]}; they are "
            f"looked for in {base} (root= names another folder)"
        )


def _tell(file: Path, numbers: list[int], total: int) -> None:
    more = ", …" if len(numbers) > _SHOWN else ""
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    warnings.warn(
        f"{file}: {len(numbers)} of {total} rows have no path or no caption (lines {shown}{more}); they are left out",
        stacklevel=3,
    )
