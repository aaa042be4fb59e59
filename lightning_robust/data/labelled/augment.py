"""Training augmentation in the geometry of the model's own evaluation transform: random resized crop and flip."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image
from torch import Tensor

from lightning_robust.data.labelled.dataset import Augmentation
from lightning_robust.data.labelled.geometry import Geometry, geometry_of
from lightning_robust.data.labelled.pixels import Transform, fused

__all__ = ["AUGMENTATIONS", "CropFlip", "training_transform"]

AUGMENTATIONS: Final = ("crop-flip", "crop", "flip", "none")
#: Ratios of width to height of a random crop.
_RATIOS: Final = (3 / 4, 4 / 3)
_TRIES: Final = 10


def training_transform(
    transform: Transform, augment: str = "crop-flip", scale: Sequence[float] = (0.5, 1.0)
) -> Augmentation | None:
    """The augmentation of training images that belongs to an evaluation transform.

    Args:
        transform: The model's own evaluation preprocessing.
        augment: `"crop-flip"`: a random part of the image, resized to what the model takes, mirrored with probability
            ½; `"crop"`: the same, never mirrored; `"flip"`: mirrored, then the transform; `"none"`.
        scale: Least and largest share of the image's area that a crop has, in (0, 1].

    Returns:
        From an image and a generator to a tensor; None for `"none"`.

    Raises:
        ValueError: If the augmentation is unknown or the scale out of range.

    Example:
        >>> from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor
        >>> augment = training_transform(Compose([Resize(32), CenterCrop(32), ToTensor()]))
        >>> tuple(augment(Image.new("RGB", (80, 60)), np.random.default_rng(0)).shape)
        (3, 32, 32)
    """
    check_augmentation(augment, scale)
    if augment == "none":
        return None
    if augment == "flip":
        return _Flip(fused(transform))
    return CropFlip(transform, (scale[0], scale[1]), geometry_of(transform), mirrors=augment == "crop-flip")


def check_augmentation(augment: str, scale: Sequence[float]) -> None:
    """Refuse settings that `training_transform` does not take.

    Raises:
        ValueError: If the augmentation is unknown or the scale out of range.
    """
    if augment not in AUGMENTATIONS:
        raise ValueError(f"augment must be one of {', '.join(map(repr, AUGMENTATIONS))}, got {augment!r}")
    if len(scale) != 2 or not 0.0 < scale[0] <= scale[1] <= 1.0:
        raise ValueError(f"scale must be two areas with 0 < least ≤ largest ≤ 1, got {tuple(scale)}")


@dataclass(frozen=True)
class CropFlip:
    """A random resized crop (Szegedy et al. 2015) and a flip, drawn from the generator given.

    Where the geometry of the transform is known, the crop is resized once, straight to the size and with the
    interpolation that the model is evaluated with, and the transform's other steps (mean and std among them) follow.
    Where it is not, the crop is resized to the size of the image and the whole transform follows.

    Attributes:
        transform: The evaluation transform.
        scale: Least and largest area of a crop, as shares of the image.
        geometry: What is known about the transform.
        mirrors: Whether there is a flip.
    """

    transform: Transform
    scale: tuple[float, float]
    geometry: Geometry | None
    mirrors: bool = True

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Tensor:
        """Augment an image.

        Args:
            image: In RGB.
            rng: Where every number is drawn from.
        """
        box = _crop_box(image.size, self.scale, rng)
        mirrored = self.mirrors and rng.random() < 0.5
        if self.geometry is None:
            size, resample, rest = image.size, Image.Resampling.BICUBIC, self.transform
        else:
            size, resample, rest = self.geometry.size, self.geometry.resample, self.geometry.rest
        crop = image.crop(box).resize(size, resample)
        return rest(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else crop)


@dataclass(frozen=True)
class _Flip:
    transform: Transform

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Tensor:
        return self.transform(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image)


def _crop_box(size: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of a random crop; the middle of the image where no draw fits into it."""
    width, height = size
    for _ in range(_TRIES):
        area = width * height * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(_RATIOS[0]), math.log(_RATIOS[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * _RATIOS[1])))
    h = min(height, max(1, round(width / _RATIOS[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
