"""A folder of images with a CSV file of labels as a concept set."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from lightning_robust.data.concept_sets.concept_set import ConceptSet, Transform
from lightning_robust.data.csv_tables import Row, read_table
from lightning_robust.data.reading import MAX_UNREADABLE, ImageFiles

__all__ = ["csv_concepts"]

LABELS_FILE: Final = "labels.csv"
CATEGORIES_FILE: Final = "categories.csv"
#: Category of a concept for which none is given.
DEFAULT_CATEGORY: Final = "concept"
#: What a cell may hold, upper and lower case alike: pandas writes 1.0 beside empty cells, and True for booleans.
_VALUES: Final = {"1": 1, "0": 0, "": -1, "-1": -1, "1.0": 1, "0.0": 0, "-1.0": -1, "true": 1, "false": 0}


def csv_concepts(
    path: str | os.PathLike[str],
    transform: Transform | None = None,
    *,
    categories: Mapping[str, str] | str | os.PathLike[str] | None = None,
    max_missing: int = MAX_UNREADABLE,
) -> ConceptSet:
    r"""Images listed in a CSV file: a column `image` and one for each concept.

    A cell is 1 (there), 0 (not there) or empty (not annotated); True, False, 1.0, 0.0 and −1 (not annotated) are
    understood too. Images are given relative to the file's folder. The category of a concept is, in this order, what
    `categories` or a file `categories.csv` (columns `concept,category`) beside the labels says, what stands before
    the colon in its column's name (`colour:red`; the name stays whole), or `"concept"`.

    Args:
        path: The CSV file, or a folder with `labels.csv` or with no other CSV file than it and `categories.csv`.
        transform: From a PIL image to a tensor.
        categories: The category of each concept, or a CSV file with it.
        max_missing: How many of the listed images may be missing. They stay in the set, and a loader leaves them out.

    Returns:
        The concept set, images in the order of the file.

    Raises:
        ValueError: If the file is missing or damaged, a cell holds something else (file, line and column are named),
            an image is listed twice, or more images than allowed are missing.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "labels.csv").write_text("image,colour:red,striped\na.png,1,\n")
        >>> Image.new("RGB", (4, 4)).save(folder / "a.png")
        >>> small = csv_concepts(folder)
        >>> small.concepts, small.categories, small.all_labels().tolist()
        (('colour:red', 'striped'), ('colour', 'concept'), [[1, -1]])
    """
    file = _labels_file(Path(path).expanduser())
    columns, rows = read_table(file, needs=("image",))
    concepts = tuple(name for name in columns if name != "image")
    if not rows or not concepts:
        raise ValueError(f"{file} lists {len(rows)} images and {len(concepts)} concepts; it needs some of each")
    given = categories if categories is not None else _beside(file)
    by_concept = given if isinstance(given, Mapping) else _read_categories(Path(given).expanduser()) if given else {}
    if unknown := [name for name in by_concept if name not in concepts]:
        raise ValueError(f"A category is given for {unknown[0]!r}, which is no column of {file}")
    labels = np.array([[_value(row, concept) for concept in concepts] for row in rows], dtype=np.int8)
    source = f"{file.name}, labels of {len(rows)} images"
    images = ImageFiles(_image_paths(file, rows, max_missing))
    names = [by_concept.get(concept) or _before_colon(concept) for concept in concepts]
    return ConceptSet(_name(file), source, concepts, names, images, labels, transform)


def _name(file: Path) -> str:
    return file.resolve().parent.name if file.name == LABELS_FILE else file.stem


def _labels_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(
            f"No file {path}: a concept set needs a CSV file with the column image and one column of 1, 0 or nothing "
            "for each concept"
        )
    if (path / LABELS_FILE).is_file():
        return path / LABELS_FILE
    tables = sorted(file for file in path.glob("*.csv") if file.name != CATEGORIES_FILE)
    if len(tables) == 1:
        return tables[0]
    found = ", ".join(file.name for file in tables) or "no CSV file"
    raise ValueError(f"The labels in {path} have to be in {LABELS_FILE}; found {found}")


def _beside(file: Path) -> Path | None:
    path = file.with_name(CATEGORIES_FILE)
    return path if path.is_file() and path != file else None


def _read_categories(file: Path) -> dict[str, str]:
    if not file.is_file():
        raise ValueError(f"No file {file}: it would have the columns concept,category")
    found: dict[str, str] = {}
    for row in read_table(file, needs=("concept", "category"))[1]:
        concept, category = row.cells["concept"], row.cells["category"]
        if concept in found or not category:
            raise ValueError(f"{row.where}: the concept {concept!r} needs one category, once")
        found[concept] = category
    return found


def _before_colon(concept: str) -> str:
    category, colon, _ = concept.partition(":")
    return category.strip() if colon and category.strip() else DEFAULT_CATEGORY


def _value(row: Row, concept: str) -> int:
    value = _VALUES.get(row.cells[concept].lower())
    if value is None:
        raise ValueError(
            f"{row.where}, column {concept!r}: {row.cells[concept]!r} is neither 1 (there), 0 (not there) nor empty "
            "(not annotated)"
        )
    return value


def _image_paths(file: Path, rows: list[Row], max_missing: int) -> list[Path]:
    first: dict[str, Row] = {}
    for row in rows:
        image = row.cells["image"]
        if not image:
            raise ValueError(f"{row.where}, column 'image': it is empty")
        path = os.path.normpath(file.parent / image)
        if path in first:
            raise ValueError(f"{row.where}: the image {image!r} is listed before, {first[path].where}")
        first[path] = row
    paths = [Path(path) for path in first]
    missing = [path for path in paths if not path.is_file()]
    if len(missing) > max_missing or len(missing) == len(paths):
        raise ValueError(
            f"{len(missing)} of {len(paths)} images listed in {file} are missing, the first of them {missing[0]}; they "
            "are looked for relative to the file's folder"
        )
    return paths
