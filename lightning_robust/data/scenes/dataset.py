"""Scenes as torch datasets: rendered once into a cache on disk, or afresh for a stream that never repeats."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lightning_robust.data.loaders import Place
from lightning_robust.data.scenes.captions import captions
from lightning_robust.data.scenes.concepts import concept_labels
from lightning_robust.data.scenes.distributions import WORLD_VERSION, Distribution
from lightning_robust.data.scenes.draws import Scenes, draw_scenes
from lightning_robust.data.scenes.render import IMAGE_SIZE, render
from lightning_robust.results import atomic_path, cache_folder

Transform = Callable[[Image.Image], Tensor]


def rendered(
    distribution: Distribution, seed: int, split: str, n: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Images 0 … n − 1 of a split and the visible area of their parts, from the cache or rendered into it.

    The cache is keyed by the world's version and every parameter of the distribution, written to a temporary file and
    renamed. A damaged file is rendered anew; where no cache can be written the images are rendered in memory.

    Args:
        distribution: What the images look like.
        seed: Seed of the world.
        split: `"train"`, `"val"` or `"test"`.
        n: Number of images.

    Returns:
        What `render` returns: images `(n, 3, 32, 32)` and visible pixels of the part `(n,)`.
    """
    key = f"v{WORLD_VERSION};{distribution.key()};seed={seed};split={split};n={n};size={IMAGE_SIZE}"
    name = f"scenes-{distribution.name}-{split}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    path = cache_folder() / name
    if (cached := _read(path, n)) is not None:
        return cached
    images, part_area = render(draw_scenes(distribution, seed, split, np.arange(n)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            np.savez(temporary, images=images, part_area=part_area)
    except OSError:
        pass  # a read-only home costs a few seconds a run and nothing else
    return images, part_area


def _read(path: Path, n: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | None:
    """A cached split, or None where there is none or none that can be used."""
    try:
        with path.open("rb") as file, np.load(file) as archive:  # numpy leaves a file open that is no archive
            images, part_area = archive["images"], archive["part_area"]
    except Exception:  # a damaged zip raises a dozen kinds of error, and the answer to each is to render again
        return None
    whole = images.shape == (n, 3, IMAGE_SIZE, IMAGE_SIZE) and part_area.shape == (n,)
    return (images, part_area) if whole and images.dtype == np.uint8 else None


class SceneImages(Dataset[Any]):
    """`(image, label)` or `(image, label, concept labels)` of one split.

    Args:
        distribution: What the images look like.
        seed: Seed of the world.
        split: `"train"`, `"val"` or `"test"`.
        n: Number of images.
        transform: From a PIL image to a tensor; preprocessing comes from the model.
        concepts: Whether samples carry the concept labels, `(C,)` in {1, 0, −1}.
        flip: Whether a training image is mirrored with probability ½, decided by (seed, epoch, index).
    """

    def __init__(
        self, distribution: Distribution, seed: int, split: str, n: int, transform: Transform,
        *, concepts: bool = False, flip: bool = False,
    ) -> None:  # fmt: skip
        self.transform, self.flip, self.seed = transform, flip, seed
        scenes = draw_scenes(distribution, seed, split, np.arange(n))
        self.images, part_area = rendered(distribution, seed, split, n)
        self.labels = scenes.label
        self.concepts = concept_labels(scenes, part_area) if concepts else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int | Place) -> tuple[Any, ...]:
        index, epoch = (place.item, place.epoch) if isinstance(place, Place) else (place, 0)
        pixels = self.images[index].transpose(1, 2, 0)
        if self.flip and np.random.Generator(np.random.PCG64([self.seed, epoch, index])).random() < 0.5:
            pixels = pixels[:, ::-1]
        image = self.transform(Image.fromarray(np.ascontiguousarray(pixels)))
        label = int(self.labels[index])
        return (image, label) if self.concepts is None else (image, label, self.concepts[index])


class _FreshScenes(Dataset[Any], ABC):
    """Images of a distribution, rendered when asked for: every epoch has fresh ones.

    Args:
        distribution: What the images look like.
        seed: Seed of the world.
        n: Images in an epoch; epoch e shows the images e·n … (e + 1)·n − 1 of the split `"train"`.
        transform: From a PIL image to a tensor.
    """

    def __init__(self, distribution: Distribution, seed: int, n: int, transform: Transform) -> None:
        self.distribution, self.seed, self.n, self.transform = distribution, seed, n, transform

    @abstractmethod
    def _targets(self, scenes: Scenes) -> Sequence[Any]:
        """What stands beside each image."""

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, place: int | Place) -> tuple[Tensor, Any]:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int | Place]) -> list[tuple[Tensor, Any]]:
        """A whole batch at once, because scenes are rendered in batches."""
        asked = [p if isinstance(p, Place) else Place(p, 0) for p in places]
        if outside := [place.item for place in asked if not 0 <= place.item < self.n]:
            raise IndexError(f"image {outside[0]} of an epoch of {self.n}")  # ends a plain for loop
        indices = [place.epoch * self.n + place.item for place in asked]
        scenes = draw_scenes(self.distribution, self.seed, "train", indices)
        pixels = render(scenes)[0].transpose(0, 2, 3, 1)
        images = [self.transform(Image.fromarray(picture)) for picture in pixels]
        return list(zip(images, self._targets(scenes), strict=True))


class CaptionedScenes(_FreshScenes):
    """`(image, caption)`, fresh in every epoch."""

    def _targets(self, scenes: Scenes) -> list[str]:
        return captions(scenes)


class LabelledScenes(_FreshScenes):
    """`(image, label)`, fresh in every epoch: the very images that `CaptionedScenes` shows."""

    def _targets(self, scenes: Scenes) -> list[int]:
        return [int(label) for label in scenes.label]
