"""`LabelledSource`: images with one class each, whatever they were read from."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_robust.data.reading import ImageFiles, ImageSource

__all__ = ["ChosenImages", "LabelledSource"]

_SHOWN: Final = 6


class ChosenImages:
    """Some of the images of a source, in the order given.

    Args:
        images: All of them.
        chosen: Which.
    """

    def __init__(self, images: ImageSource, chosen: NDArray[np.int64]) -> None:
        self.images: ImageSource = images
        self.chosen = chosen
        if isinstance(images, ChosenImages):  # a choice among a choice is a choice
            self.images, self.chosen = images.images, images.chosen[chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def open(self, index: int) -> Image.Image:
        """Image `index` of those chosen, in RGB.

        Raises:
            UnreadableImageError: If it is missing or damaged.
        """
        return self.images.open(int(self.chosen[index]))


@dataclass(frozen=True, eq=False)
class LabelledSource:
    """Images with one class each.

    Attributes:
        name: Short name, for tags, tables and file names.
        source: What it was read from and how, with a digest of names and labels, for the record of a result.
        images: Where the images come from.
        labels: For each image its class, an index into `class_names`, `(n,)` int64.
        class_names: The classes as the source calls them. A class may be without images.
        root: The folder that images are named relative to, where they are files.

    Raises:
        ValueError: If there are no images, the numbers of images and labels differ, or a label is out of range.

    Example:
        >>> class Grey:
        ...     def __len__(self):
        ...         return 3
        ...     def open(self, index):
        ...         return Image.new("RGB", (4, 4), "grey")
        >>> grey = LabelledSource("grey", "three grey squares", Grey(), np.array([0, 1, 1]), ("cat", "dog"))
        >>> len(grey), grey.counts()
        (3, {'cat': 1, 'dog': 2})
        >>> grey.choose([1, 2]).counts()
        {'cat': 0, 'dog': 2}
    """

    name: str
    source: str
    images: ImageSource
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    root: str = ""

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels, dtype=np.int64)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if len(self.images) != len(labels):
            raise ValueError(f"{self.source}: {len(self.images)} images need as many labels, got {len(labels)}")
        if not len(labels):
            raise ValueError(f"There are no images in {self.source}")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(self.class_names):
            raise ValueError(
                f"{self.source}: the label {low if low < 0 else high} is none of its {len(self.class_names)} classes; "
                f"−1 usually means that labels are held back, so take another split"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> dict[str, int]:
        """How many images each class has, in the order of the classes.

        Two classes of one name count together.
        """
        found = np.bincount(self.labels, minlength=len(self.class_names)).tolist()
        counts = dict.fromkeys(self.class_names, 0)
        for name, count in zip(self.class_names, found, strict=True):
            counts[name] += count
        return counts

    def keys(self) -> list[str]:
        """A name of each image that stays its own when others come and go, or the whole set is moved.

        The path of a file below `root`, in one form on every system; the number of a table's row.
        """
        images, chosen = self.images, np.arange(len(self.images))
        if isinstance(images, ChosenImages):
            chosen, images = images.chosen, images.images
        if not isinstance(images, ImageFiles):
            return [str(row) for row in chosen.tolist()]
        start = self.root + os.sep if self.root else ""
        paths = (images.paths[index].removeprefix(start).replace(os.sep, "/") for index in chosen.tolist())
        return [unicodedata.normalize("NFC", path) for path in paths]

    def choose(self, chosen: Sequence[int] | NDArray[np.int64], note: str = "") -> "LabelledSource":
        """Some of the images, with the same classes.

        Args:
            chosen: Which, in the order wanted.
            note: What to add to `source`.

        Raises:
            ValueError: If none is chosen.
        """
        some = np.asarray(chosen, dtype=np.int64)
        source = f"{self.source}; {note}" if note else self.source
        images = ChosenImages(self.images, some)
        return replace(self, source=source, images=images, labels=self.labels[some])


def in_words(names: Sequence[str], shown: int = _SHOWN) -> str:
    """Some names for a sentence: `'a', 'b' and 3 more`."""
    listed = ", ".join(map(repr, names[:shown]))
    return f"{listed} and {len(names) - shown} more" if len(names) > shown else listed
