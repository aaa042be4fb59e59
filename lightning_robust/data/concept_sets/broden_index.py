"""The tables of a Broden folder: which images there are, where their labels stand, and what the numbers mean."""

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lightning_robust.data.csv_tables import Row, read_table

__all__ = ["ARCHIVE_URL", "BrodenConcept", "BrodenIndex", "BrodenRow", "read_broden"]

ARCHIVE_URL: Final = "http://netdissect.csail.mit.edu/data/broden1_224.zip"
#: Columns of index.csv that are no category.
_FIXED: Final = ("image", "split", "ih", "iw", "sh", "sw")
_LABEL_COLUMNS: Final = ("number", "name", "category", "frequency", "coverage")
_CODE_COLUMNS: Final = ("code", "number", "name", "frequency", "coverage")
_CATEGORY: Final = re.compile(r"([^;()]+)\((\d+)\)")


@dataclass(frozen=True)
class BrodenConcept:
    """One concept: a label number, in all its categories or in one.

    Attributes:
        name: Its name in label.csv; colours end in `-c`, scenes in `-s`.
        number: Its number in masks and cells.
        categories: The categories in whose cells it is looked for, the most frequent first.
        frequency: Images that show it, as the tables say.
        coverage: Share of an image that it covers, summed over the images, as the tables say.
    """

    name: str
    number: int
    categories: tuple[str, ...]
    frequency: float
    coverage: float


@dataclass(frozen=True)
class BrodenRow:
    """One image: its path below images/, and for each category what its cell says.

    Attributes:
        image: Path relative to `images/`.
        numbers: For each category the labels of the whole image; 0 stands for one that was filtered out.
        masks: For each category the masks, paths relative to `images/`, the dominant layer first.

    A category whose cell is empty, that is for which the image was not annotated, is in neither.
    """

    image: str
    numbers: dict[str, tuple[int, ...]]
    masks: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class BrodenIndex:
    """What the tables of a Broden folder say.

    Attributes:
        folder: The folder.
        categories: The categories of index.csv, in the order of its columns.
        rows: The images.
        concepts: The concepts, by ascending number.
    """

    folder: Path
    categories: tuple[str, ...]
    rows: tuple[BrodenRow, ...]
    concepts: tuple[BrodenConcept, ...]


def read_broden(
    folder: str | os.PathLike[str],
    *,
    split: str | None = None,
    categories: tuple[str, ...] | None = None,
    shared: str = "merge",
) -> BrodenIndex:
    """Read index.csv, label.csv, category.csv and the c_<category>.csv, and hold them against each other.

    Args:
        folder: The unpacked archive.
        split: `"train"`, `"val"`, or None for all images.
        categories: Look at these alone; None takes all.
        shared: `"merge"` makes one concept of a label number that several categories use, `"split"` one for each.

    Returns:
        The record.

    Raises:
        ValueError: If a file is missing or damaged, the tables contradict each other, or an argument names nothing.

    Example:
        >>> read_broden("broden1_224", shared="both")
        Traceback (most recent call last):
        ValueError: shared must be 'merge' or 'split', got 'both'
    """
    if shared not in ("merge", "split"):
        raise ValueError(f"shared must be 'merge' or 'split', got {shared!r}")
    folder = Path(folder).expanduser()
    for needed in (folder, folder / "images", folder / "index.csv", folder / "label.csv", folder / "category.csv"):
        _check_there(needed, folder)
    columns, rows = read_table(folder / "index.csv", needs=("image", "split"))
    known = tuple(column for column in columns if column not in _FIXED)
    chosen = known if categories is None else tuple(categories)
    _check_categories(folder, chosen, known)
    concepts = _concepts(folder, chosen, known, split_shared=shared == "split")
    splits = sorted({row.cells["split"] for row in rows})
    if split is not None and split not in splits:
        raise ValueError(f"{folder / 'index.csv'} has no split {split!r}; it has {', '.join(map(repr, splits))}")
    taken = [_row(row, chosen) for row in rows if split in (None, row.cells["split"])]
    if categories is not None:  # an image without annotation for any of them says nothing
        taken = [row for row in taken if row.numbers]
    return BrodenIndex(folder, chosen, tuple(taken), tuple(concepts))


def _check_there(path: Path, folder: Path) -> None:
    is_folder = not path.suffix if path != folder else True
    if path.is_dir() if is_folder else path.is_file():
        return
    what = f"No folder {path}" if is_folder else f"{path} is missing"
    raise ValueError(
        f"{what}: Broden has to be unpacked there as published, with index.csv, label.csv, category.csv, a "
        "c_<category>.csv for each category, and images/<source>/ with the images and their PNG masks; the archive is "
        f"{ARCHIVE_URL} (also broden1_227.zip, broden1_384.zip), on a host that has been down for long times"
    )


def _check_categories(folder: Path, chosen: tuple[str, ...], known: tuple[str, ...]) -> None:
    _, rows = read_table(folder / "category.csv", needs=("name",))
    listed = {row.cells["name"] for row in rows}
    if lacking := sorted(listed - set(known)):
        raise ValueError(
            f"{folder / 'category.csv'} lists the category {lacking[0]!r}, but index.csv has no such column; it has "
            f"{', '.join(known) or 'none'}"
        )
    if strange := [name for name in known if name not in listed]:
        raise ValueError(f"The column {strange[0]!r} of {folder / 'index.csv'} is no category of category.csv")
    if wrong := [name for name in chosen if name not in known]:
        raise ValueError(f"Broden in {folder} has no category {wrong[0]!r}; it has {', '.join(known)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"categories must name one or more, each once, of {', '.join(known)}; got {chosen}")


def _concepts(
    folder: Path, chosen: tuple[str, ...], known: tuple[str, ...], *, split_shared: bool
) -> list[BrodenConcept]:
    codes = {category: _codes(folder, category) for category in chosen}
    concepts: list[BrodenConcept] = []
    numbers: set[int] = set()
    for row in read_table(folder / "label.csv", needs=_LABEL_COLUMNS)[1]:
        number, name = row.whole("number"), row.cells["name"]
        if number == 0:  # unlabelled
            continue
        if number in numbers or not name:
            raise ValueError(f"{row.where}: a label needs a name and a number of its own, got {name!r} and {number}")
        numbers.add(number)
        counts = _counts(row, known)
        mine = tuple(category for category in counts if category in chosen)
        figures = [_figures(codes[category].get(number), row, float(counts[category])) for category in mine]
        if split_shared:
            for category, figure in zip(mine, figures, strict=True):
                shown = f"{name} ({category})" if len(counts) > 1 else name
                concepts.append(BrodenConcept(shown, number, (category,), *figure))
        elif mine:
            whole = (row.number("frequency"), row.number("coverage"))
            part = (sum(frequency for frequency, _ in figures), sum(coverage for _, coverage in figures))
            concepts.append(BrodenConcept(name, number, mine, *(whole if len(mine) == len(counts) else part)))
    often = Counter(concept.name for concept in concepts)
    # names must tell concepts apart, and label.csv tells them apart by number
    told = [replace(c, name=f"{c.name} #{c.number}") if often[c.name] > 1 else c for c in concepts]
    return sorted(told, key=lambda concept: concept.number)


def _counts(row: Row, known: tuple[str, ...]) -> dict[str, int]:
    """`object(3);part(1)` as images by category, the most frequent first; of equals, the one named first."""
    parts = [_CATEGORY.fullmatch(part.strip()) for part in row.cells["category"].split(";")]
    found = [(part[1].strip(), int(part[2])) for part in parts if part]
    if len(found) < len(parts) or any(name not in known for name, _ in found):
        raise ValueError(
            f"{row.where}, column 'category': {row.cells['category']!r} is not of the form 'object(3);part(1)' with "
            f"categories of index.csv ({', '.join(known)})"
        )
    return dict(sorted(found, key=lambda pair: -pair[1]))


def _codes(folder: Path, category: str) -> dict[int, Row]:
    path = folder / f"c_{category}.csv"
    _check_there(path, folder)
    return {row.whole("number"): row for row in read_table(path, needs=_CODE_COLUMNS)[1]}


def _figures(code: Row | None, label: Row, count: float) -> tuple[float, float]:
    """Frequency and coverage of a label in one category."""
    if code is None:
        return count, label.number("coverage")
    if code.cells["name"] != label.cells["name"]:
        raise ValueError(
            f"{code.where} calls number {code.cells['number']} {code.cells['name']!r}, but label.csv "
            f"{label.cells['name']!r}; the tables are of different copies"
        )
    return code.number("frequency"), code.number("coverage")


def _row(row: Row, categories: tuple[str, ...]) -> BrodenRow:
    numbers: dict[str, tuple[int, ...]] = {}
    masks: dict[str, tuple[str, ...]] = {}
    for category in categories:
        entries = [entry.strip() for entry in row.cells[category].split(";") if entry.strip()]
        if entries:
            numbers[category] = tuple(int(entry) for entry in entries if entry.isdecimal())
            masks[category] = tuple(entry for entry in entries if not entry.isdecimal())
    return BrodenRow(row.cells["image"], numbers, masks)
