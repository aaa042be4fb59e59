"""The judged images of `ablate`: ids, paths, which are largest on a unit, and small pictures of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lightning_robust.cli.ablate_answers import AblatedSet
from lightning_robust.data.reading import ImageFiles, TolerantLoader, UnreadableImageError
from lightning_robust.models.evaluate_rules import AnswerRule
from lightning_robust.results import atomic_path
from lightning_robust.results.ablation_record import TopImage

__all__ = ["JudgedImages", "extremes", "judged_images", "write_tiles"]

TILES = "top_images"
_SIDE = 96
"""Longer side of a small picture, in pixels; smaller images stay as they are."""


@dataclass(frozen=True, eq=False)
class JudgedImages:
    """Every judged image, set by set.

    Attributes:
        ids: `"reference/00017"`.
        sets: Name of the set of each.
        places: Position in the set, `(n,)`.
        labels: Name of the class of each for a reader: its own where that is one of the reference's, else the one that
            it is counted as.
        classes: Its own class as the set names it; None where the set tells only the group of classes that counts.
        counted: The reference class that it is counted as, the first of its group.
        paths: Its file; None for an image that is none.
        datasets: By set, what gives its pixels as a `uint8` tensor.
    """

    ids: tuple[str, ...]
    sets: tuple[str, ...]
    places: tuple[int, ...]
    labels: tuple[str, ...]
    classes: tuple[str | None, ...]
    counted: tuple[str, ...]
    paths: tuple[str | None, ...]
    datasets: Mapping[str, Any]

    def rows(self) -> list[dict[str, str | int | float | bool | None]]:
        """A row for each image, for `images.csv`."""
        columns = zip(self.ids, self.sets, self.places, self.classes, self.counted, self.paths, strict=True)
        return [
            {"image": name, "set": where, "place": place, "class": own, "counted_as": counted, "path": path}
            for name, where, place, own, counted, path in columns
        ]


def judged_images(
    answers: Sequence[AblatedSet], data: Any, split: str, rules: Mapping[str, AnswerRule]
) -> JudgedImages:
    """Name every judged image.

    Args:
        answers: By set, in the order of the loaders.
        data: The data module; its transform is another afterwards.
        split: Of the judged images.
        rules: By set.
    """
    data.transform = _pixels
    given = data.test_dataloader() if split == "test" else data.val_dataloader()
    loaders = list(given) if isinstance(given, list | tuple) else [given]
    datasets = {one.set: _dataset(loader) for one, loader in zip(answers, loaders, strict=True)}
    names = list(data.class_names)
    found = list[tuple[str, str, int, str, str | None, str, str | None]]()
    for one in answers:
        dataset, shared = datasets[one.set], _shared(rules[one.set])
        width = len(str(max(len(dataset) - 1, 0)))
        for place, target in zip(one.places.tolist(), one.targets.tolist(), strict=True):
            counted, own = names[target], _own_class(dataset, place)
            own = counted if own is None and target not in shared else own
            label = own if own is not None and own in names else counted
            found.append((f"{one.set}/{place:0{width}d}", one.set, place, label, own, counted, _path(dataset, place)))
    columns: Any = zip(*found, strict=True) if found else ((),) * 7
    ids, sets, places, labels, classes, counts, paths = columns
    return JudgedImages(ids, sets, places, labels, classes, counts, paths, datasets)


def extremes(
    scores: Tensor, images: JudgedImages, count: int, files: Mapping[int, str], *, sign: int = 1
) -> tuple[TopImage, ...]:
    """The images with the largest scores, the largest first; among equals the first. Scores that are NaN are left out.

    Args:
        scores: Of each image, `(n,)`.
        images: The images.
        count: How many.
        files: Small pictures that are there, by row.
        sign: −1 for the smallest scores, the smallest first.
    """
    return tuple(
        TopImage(
            image=images.ids[row],
            set=images.sets[row],
            place=images.places[row],
            label=images.labels[row],
            score=float(scores[row]),
            file=files.get(row),
        )
        for row in largest(sign * scores, count)
    )


def largest(scores: Tensor, count: int) -> list[int]:
    """Rows of the largest scores.

    Args:
        scores: `(n,)`.
        count: How many.

    Example:
        >>> largest(torch.tensor([1.0, float("nan"), 3.0, 3.0]), 2)
        [2, 3]
    """
    known = scores.isfinite().nonzero().flatten()
    order = scores[known].argsort(descending=True, stable=True)[:count]
    return [int(row) for row in known[order]]


def write_tiles(rows: Sequence[int], images: JudgedImages, folder: Path) -> dict[int, str]:
    """Write small pictures of images as PNG files.

    Args:
        rows: Which images.
        images: All of them.
        folder: The run's folder.

    Returns:
        By row, the file relative to the folder; without those that cannot be read any more.
    """
    written: dict[int, str] = {}
    for row in dict.fromkeys(rows):
        try:
            pixels = images.datasets[images.sets[row]][images.places[row]][0]
        except UnreadableImageError:
            continue
        name = f"{TILES}/{images.ids[row].replace('/', '-')}.png"
        (folder / TILES).mkdir(exist_ok=True)
        with atomic_path(folder / name) as temporary:
            Image.fromarray(_array(pixels)).save(temporary, format="PNG")
        written[row] = name
    return written


def _pixels(image: Image.Image) -> Tensor:
    """A small copy, `(3, h, w)` uint8: the preprocessing that the data module gets."""
    small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    return torch.from_numpy(np.array(small)).movedim(-1, 0)


def _array(pixels: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels.movedim(0, -1).numpy())


def _dataset(loader: Any) -> Any:
    dataset: Any = loader.dataset
    return dataset.dataset if type(loader) is TolerantLoader else dataset


def _shared(rule: AnswerRule) -> set[int]:
    """Targets that stand for several classes."""
    groups = () if rule.mask is None else rule.mask.groups
    return {group[0] for group in groups if len(group) > 1}


def _own_class(dataset: Any, place: int) -> str | None:
    """The class of an image as its set names it, where the data set knows it."""
    source: Any = getattr(dataset, "source", None)
    labels, names = getattr(source, "labels", None), getattr(source, "class_names", None)
    return None if labels is None or names is None else str(names[int(labels[place])])


def _path(dataset: Any, place: int) -> str | None:
    """The file of an image, where the data set reads files."""
    source: Any = getattr(getattr(dataset, "source", None), "images", None)
    chosen = getattr(source, "chosen", None)
    if chosen is not None:
        source, place = source.images, int(chosen[place])
    return source.paths[place] if isinstance(source, ImageFiles) else None
