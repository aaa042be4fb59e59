"""`ConceptSet`: images with image-level labels of named concepts, whatever they were read from."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lightning_robust.data.reading import MAX_UNREADABLE, ImageSource, TolerantLoader

__all__ = ["ConceptSet", "LabelRows", "Transform", "concept_loader"]

Transform = Callable[[Image.Image], Tensor]


class LabelRows(Protocol):
    """Concept labels of n images: a whole `(n, C)` int8 array is one, and so are labels kept sparse."""

    def __len__(self) -> int:
        """The number of images."""

    def __getitem__(self, index: int, /) -> Any:
        """The labels of one image, `(C,)` int8 in {1, 0, −1}."""


class ConceptSet(Dataset[tuple[Tensor, Tensor]]):
    """Images with labels: 1 the concept is there, 0 it is not, −1 the image was not annotated for it.

    `set[i]` is `(transform(image), labels (C,) int8)`.

    Args:
        name: Short name, for tags, tables and file names.
        source: What it was read from and how, for the record of a result.
        concepts: Name of each of the C concepts.
        categories: Category of each concept.
        images: Where the images come from.
        labels: Their labels, in the same order.
        transform: From a PIL image (RGB) to a tensor `(3, H, W)`; None where only the labels are wanted.

    Raises:
        ValueError: If there are no images or no concepts, two concepts have one name, or the numbers of
            images and labels, or of concepts and categories, differ.

    Example:
        >>> class Grey:
        ...     def __len__(self):
        ...         return 2
        ...     def open(self, index):
        ...         return Image.new("RGB", (4, 4), "grey")
        >>> labels = np.array([[1, 0], [0, -1]], dtype=np.int8)
        >>> grey = ConceptSet("grey", "two grey squares", ["grey", "round"], ["colour", "shape"], Grey(), labels)
        >>> len(grey), grey.all_labels().tolist()
        (2, [[1, 0], [0, -1]])
    """

    def __init__(
        self,
        name: str,
        source: str,
        concepts: Sequence[str],
        categories: Sequence[str],
        images: ImageSource,
        labels: LabelRows,
        transform: Transform | None = None,
    ) -> None:
        if len(concepts) != len(categories):
            raise ValueError(f"{len(concepts)} concepts need as many categories, got {len(categories)}")
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images need as many rows of labels, got {len(labels)}")
        if not concepts or not len(images):
            raise ValueError(
                f"The concept set {name!r} has {len(images)} images and {len(concepts)} concepts: {source}"
            )
        if len(set(concepts)) < len(concepts):
            twice = next(concept for concept in concepts if list(concepts).count(concept) > 1)
            raise ValueError(f"The concept {twice!r} is there twice in {source}")
        self.name, self.source = name, source
        self.concepts, self.categories = tuple(concepts), tuple(categories)
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a concept set of {len(self)}")  # ends a plain for loop
        if self.transform is None:
            raise ValueError(f"The concept set {self.name!r} has no transform; pass the encoder's")
        index %= len(self)
        return self.transform(self.images.open(index)), torch.as_tensor(self.labels[index])

    def all_labels(self) -> NDArray[np.int8]:
        """Every label without reading an image, `(n, C)` in {1, 0, −1}."""
        if isinstance(self.labels, np.ndarray):
            return self.labels
        return np.stack([self.labels[index] for index in range(len(self))])


def concept_loader(
    dataset: ConceptSet, batch_size: int = 64, num_workers: int = 0, *, max_unreadable: int = MAX_UNREADABLE
) -> TolerantLoader:
    """Batches `(images (n, 3, H, W), labels (n, C) int8)` in the order of the set, the same in every pass.

    An image that cannot be read is left out together with its labels, with a warning that names it.

    Args:
        dataset: The concept set.
        batch_size: Images in a batch.
        num_workers: Worker processes.
        max_unreadable: How many images may be unreadable in one pass.

    Returns:
        The loader; its `unreadable` lists what the last pass left out.

    Raises:
        ValueError: If the set has no transform or a number is out of range; while iterating, if more images than
            allowed cannot be read or they differ in size.

    Example:
        >>> from lightning_robust.data.concept_sets import scenes_concepts
        >>> from torchvision.transforms.functional import pil_to_tensor
        >>> images, labels = next(iter(concept_loader(scenes_concepts(pil_to_tensor, n=4), batch_size=2)))
        >>> tuple(images.shape), labels.dtype
        ((2, 3, 32, 32), torch.int8)
    """
    if dataset.transform is None:
        raise ValueError(f"The concept set {dataset.name!r} has no transform; pass the encoder's")
    return TolerantLoader(dataset, batch_size, num_workers=num_workers, max_unreadable=max_unreadable)
