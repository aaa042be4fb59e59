"""From the cells and masks of a Broden index to what each image shows, and which share of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from lightning_robust.data.concept_sets.broden_index import BrodenIndex, BrodenRow
from lightning_robust.data.reading import MAX_UNREADABLE, reason

__all__ = ["Findings", "find_labels", "read_mask"]

_ROWS_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class Findings:
    """What n images show: k findings, each a label number in a category of an image.

    Attributes:
        row: Number of the image, `(k,)` int32, ascending.
        category: Position of the category, `(k,)` int8.
        number: Label number, `(k,)` int32, above 0.
        area: Share of the mask that it covers, in (0, 1]; 1 for a label of the whole image, `(k,)` float32.
        annotated: Whether the image was annotated for the category and all its masks could be read, `(n, K)` bool.
        unreadable: A sentence for each mask that could not be read.
    """

    row: NDArray[np.int32]
    category: NDArray[np.int8]
    number: NDArray[np.int32]
    area: NDArray[np.float32]
    annotated: NDArray[np.bool_]
    unreadable: tuple[str, ...]


def read_mask(path: Path) -> NDArray[np.int32]:
    """The label of each pixel: red + 256 · green.

    Args:
        path: A PNG file.

    Returns:
        `(h, w)`; 0 where nothing is labelled.

    Raises:
        OSError: If it is missing, damaged, or has no red and green.
    """
    with Image.open(path) as image:
        if image.mode not in ("RGB", "RGBA", "P"):  # P: colours behind a palette, as some compressors write them
            raise OSError(f"its mode is {image.mode}, but labels stand in red and green")
        pixels = np.asarray(image if image.mode != "P" else image.convert("RGB"))
    # int32 first: uint8 · 256 overflows
    return pixels[..., 0].astype(np.int32) + 256 * pixels[..., 1].astype(np.int32)


def areas(layers: Sequence[NDArray[np.int32]]) -> dict[int, float]:
    """For each label above 0 the share of pixels where any layer has it.

    Raises:
        OSError: If the layers differ in size.
    """
    if len({layer.shape for layer in layers}) > 1:
        raise OSError(f"its layers differ in size: {', '.join(str(layer.shape) for layer in layers)}")
    labels = np.stack(layers)
    for layer in range(1, len(layers)):  # a label that stands in two layers of a pixel counts once
        labels[layer][(labels[:layer] == labels[layer]).any(axis=0)] = 0
    counts = np.bincount(labels.ravel())
    return {int(label): counts[label] / layers[0].size for label in np.flatnonzero(counts) if label > 0}


def find_labels(index: BrodenIndex, *, num_workers: int = 0, max_unreadable: int = MAX_UNREADABLE) -> Findings:
    """Read every mask of an index.

    Args:
        index: What to read.
        num_workers: Worker processes that read; 0 reads in this one.
        max_unreadable: How many masks may be unreadable.

    Returns:
        What the images show.

    Raises:
        ValueError: If more masks than that cannot be read.
    """
    loader: DataLoader[Any] = DataLoader(
        _Rows(index), batch_size=_ROWS_AT_ONCE, num_workers=num_workers, collate_fn=_as_it_is,
        generator=torch.Generator(),
    )  # fmt: skip
    pieces: list[Findings] = []
    unreadable: list[str] = []
    start = 0
    for rows in loader:
        pieces.append(_joined(rows, start))
        start += len(rows)
        unreadable += pieces[-1].unreadable
        if len(unreadable) > max_unreadable:
            raise ValueError(
                f"More than {max_unreadable} masks cannot be read, the first of them {unreadable[0]}; the copy seems "
                "damaged or unpacked in part (max_unreadable raises the limit)"
            )
    columns = {
        name: np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("row", "category", "number", "area", "annotated")
    }
    return Findings(**columns, unreadable=tuple(unreadable))


class _Rows(Dataset[Any]):
    """Image by image: what it shows in each category, None where it was not annotated, a sentence for a bad mask."""

    def __init__(self, index: BrodenIndex) -> None:
        self.index = index

    def __len__(self) -> int:
        return len(self.index.rows)

    def __getitem__(self, number: int) -> list[dict[int, float] | str | None]:
        row = self.index.rows[number]
        return [_shown(self.index.folder / "images", row, category) for category in self.index.categories]


def _shown(images: Path, row: BrodenRow, category: str) -> dict[int, float] | str | None:
    if category not in row.numbers:
        return None
    layers = []
    path = images
    try:
        for name in row.masks[category]:
            path = images / name
            layers.append(read_mask(path))
        shown = areas(layers) if layers else {}
    except FileNotFoundError:
        return f"{path}: no such file"
    except Exception as error:  # a damaged file raises a dozen kinds of error, and each means the same
        return f"{path}: {reason(error)}"
    return shown | {number: 1.0 for number in row.numbers[category] if number > 0}


def _as_it_is(samples: list[Any]) -> list[Any]:
    return samples


def _joined(rows: list[list[dict[int, float] | str | None]], start: int) -> Findings:
    found = [
        (start + i, k, number, area)
        for i, row in enumerate(rows)
        for k, shown in enumerate(row)
        if isinstance(shown, dict)
        for number, area in sorted(shown.items())
    ]
    columns = np.array(found, dtype=np.float64).reshape(-1, 4).T
    return Findings(
        row=columns[0].astype(np.int32),
        category=columns[1].astype(np.int8),
        number=columns[2].astype(np.int32),
        area=columns[3].astype(np.float32),
        annotated=np.array([[isinstance(shown, dict) for shown in row] for row in rows]),
        unreadable=tuple(shown for row in rows for shown in row if isinstance(shown, str)),
    )
