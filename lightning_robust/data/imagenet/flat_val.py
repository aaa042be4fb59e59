"""The validation images as Kaggle's copy of ILSVRC 2012 has them: all in one folder, classes in a CSV file."""

import csv
from pathlib import Path
from typing import Final

import numpy as np

from lightning_robust.data.labelled import LabelledSource
from lightning_robust.data.reading import ImageFiles

__all__ = ["SOLUTION", "flat_val", "solution_file"]

#: Kaggle's list of classes and boxes; it lies beside the folder ILSVRC.
SOLUTION: Final = "LOC_val_solution.csv"
_UP: Final = 5


def solution_file(folder: Path) -> Path | None:
    """Kaggle's list for a folder `ILSVRC/Data/CLS-LOC/val`: in it, or in one of the folders above.

    Args:
        folder: The folder of the images.
    """
    places = [folder, *folder.resolve().parents][:_UP]
    return next((place / SOLUTION for place in places if (place / SOLUTION).is_file()), None)


def flat_val(folder: Path, solution: Path) -> LabelledSource:
    """The validation images of a flat folder.

    Args:
        folder: The folder with `ILSVRC2012_val_00000001.JPEG` and so on.
        solution: Kaggle's list, columns `ImageId,PredictionString`; the latter begins with the wnid.

    Returns:
        The images that are there, in the order of their names; classes are wnids.

    Raises:
        ValueError: If the list is not of that form, or an image is not in it.
    """
    try:
        with solution.open(newline="", encoding="utf-8") as file:
            wnid = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"{solution} is no list with the columns ImageId,PredictionString: {error!r}") from error
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpeg", ".jpg"))
    if unlisted := [path.name for path in files if path.stem not in wnid]:
        raise ValueError(f"{len(unlisted)} images in {folder} are not listed in {solution}, the first: {unlisted[0]}")
    classes = sorted(set(wnid.values()))
    position = {name: index for index, name in enumerate(classes)}
    labels = np.array([position[wnid[path.stem]] for path in files], dtype=np.int64)
    return LabelledSource(
        "val", f"the flat folder {folder.name} with {SOLUTION} ({len(files)} images)", ImageFiles(files), labels,
        tuple(classes),
    )  # fmt: skip
