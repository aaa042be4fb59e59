"""Image–caption pairs as a torch data set: `(tensor, caption)`, a function of (seed, epoch, index) alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from lightning_robust.data.captions.source import CaptionedSource
from lightning_robust.data.collating import Samples
from lightning_robust.data.labelled.dataset import Augmentation
from lightning_robust.data.labelled.pixels import Transform, fused
from lightning_robust.data.loaders import Place
from lightning_robust.data.reading import UnreadableImageError

__all__ = ["CaptionedImages", "ReplacedPairs", "finished_pair"]


def finished_pair(
    image: Any, captions: Sequence[str], place: Place, *, transform: Transform, augment: Augmentation | None, seed: int
) -> tuple[Tensor, str]:
    """Make a sample: the image augmented or transformed, and one of its captions, drawn with equal probability.

    Args:
        image: In RGB.
        captions: One at least.
        place: Item and epoch, which with the seed decide every draw.
        transform: The model's preprocessing, used where there is no augmentation.
        augment: What a training image goes through instead.
        seed: Seed of augmentation and draw.
    """
    caption = captions[0]
    if len(captions) > 1:
        rng = np.random.Generator(np.random.PCG64([seed, place.epoch, place.item, 2]))
        caption = captions[int(rng.integers(len(captions)))]
    if augment is None:
        return transform(image), caption
    return augment(image, np.random.Generator(np.random.PCG64([seed, place.epoch, place.item]))), caption


class CaptionedImages(Dataset[tuple[Tensor, str]]):
    """`(tensor, caption)` for a `Place`, or for a number, which is a place in epoch 0.

    Args:
        pairs: The pairs.
        transform: From a PIL image (RGB) to a tensor `(3, H, W)`.
        augment: What an image goes through instead; see `training_transform`.
        seed: Seed of augmentation, and of the draw among several captions of an image.
    """

    def __init__(
        self, pairs: CaptionedSource, transform: Transform, augment: Augmentation | None = None, seed: int = 0
    ) -> None:
        self.pairs, self.transform, self.augment, self.seed = pairs, fused(transform), augment, seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: int | Place) -> tuple[Tensor, str]:
        place = place if isinstance(place, Place) else Place(place, 0)
        if not 0 <= place.item < len(self):
            raise IndexError(f"pair {place.item} of {len(self)}")  # ends a plain for loop
        image, captions = self.pairs.open(place.item)
        return finished_pair(image, captions, place, transform=self.transform, augment=self.augment, seed=self.seed)


class ReplacedPairs(Dataset[Any]):
    """Samples for a `ReplacingLoader`: where a pair cannot be read, another one, drawn by (seed, epoch, item).

    Args:
        dataset: The pairs.
        limit: So many may be unreadable, so more need not be tried.
    """

    def __init__(self, dataset: CaptionedImages, limit: int) -> None:
        self.dataset, self.limit = dataset, limit

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Place) -> tuple[Any, list[str]]:
        unreadable: list[str] = []
        for item in self._items(place):
            try:
                return self.dataset[Place(item, place.epoch)], unreadable
            except UnreadableImageError as error:
                unreadable.append(str(error))
        return f"No pair can be read in place of {unreadable[0]}", unreadable

    def __getitems__(self, places: Sequence[Place]) -> Samples:
        return Samples(self, places)

    def _items(self, place: Place) -> Iterator[int]:
        yield place.item
        rng = np.random.Generator(np.random.PCG64([self.dataset.seed, place.epoch, place.item, 1]))
        for _ in range(self.limit + 1):
            yield int(rng.integers(len(self)))
