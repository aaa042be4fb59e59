"""What an evaluation transform does to the geometry of an image, and what is left of it without that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from lightning_robust.data.labelled.pixels import Transform, fused_steps

__all__ = ["Geometry", "geometry_of"]

#: Steps that move pixels: torchvision's (both versions), open_clip's and timm's.
_MOVING: Final = ("Resize", "CenterCrop", "ResizeKeepRatio", "ResizeMaxSize", "CenterCropOrPad")
#: Two shapes of images; a transform that crops gives one size for both.
_PROBES: Final = ((120, 90), (70, 130))


@dataclass(frozen=True)
class Geometry:
    """How a transform resizes.

    Attributes:
        size: Width and height of what the model takes, pixels.
        resample: Pillow's name of the interpolation.
        rest: The transform without its resizing and cropping.
    """

    size: tuple[int, int]
    resample: Image.Resampling
    rest: Transform


def geometry_of(transform: Any) -> Geometry | None:
    """The geometry of an evaluation transform.

    Known are: a `Compose` (torchvision's, and so those of open_clip and timm) whose resizing and cropping are steps of
    their own; torchvision's presets of weights (`weights.transforms()`); and what carries a transformers image
    processor as its attribute `processor`.

    Args:
        transform: From a PIL image to a tensor `(3, H, W)`.

    Returns:
        The geometry; None where the transform is of another kind, does not resize, or gives images of various sizes.

    Example:
        >>> from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor
        >>> geometry_of(Compose([Resize(40), CenterCrop(32), ToTensor()])).size
        (32, 32)
        >>> geometry_of(ToTensor()) is None
        True
    """
    found = _interpolation_and_rest(transform)
    if found is None:
        return None
    sizes = {_size(transform, shape) for shape in _PROBES}
    if len(sizes) > 1:
        return None
    size = sizes.pop()
    resample, rest = found
    return Geometry(size, resample, rest) if _size(rest, size) == size else None


def _size(transform: Transform, shape: tuple[int, int]) -> tuple[int, int]:
    tensor = transform(Image.new("RGB", shape))
    return int(tensor.shape[-1]), int(tensor.shape[-2])


def _interpolation_and_rest(transform: Any) -> tuple[Image.Resampling, Transform] | None:
    steps = getattr(transform, "transforms", None)
    if isinstance(steps, Sequence):
        moving = [step for step in steps if type(step).__name__ in _MOVING]
        if not moving:
            return None
        modes = [step.interpolation for step in moving if hasattr(step, "interpolation")]
        return _resampling(modes[0] if modes else None), _Steps(
            fused_steps([step for step in steps if step not in moving])
        )
    if type(transform).__name__ == "ImageClassification" and hasattr(transform, "crop_size"):
        return _resampling(transform.interpolation), _Normalised(tuple(transform.mean), tuple(transform.std))
    processor: Any = getattr(transform, "processor", None)
    if hasattr(processor, "do_resize") and hasattr(processor, "resample"):
        return _resampling(processor.resample), _Processed(processor)
    return None


def _resampling(mode: Any) -> Image.Resampling:
    """Pillow's resampling for torchvision's name, Pillow's number or nothing at all."""
    if isinstance(mode, int):
        return Image.Resampling(mode)
    name = str(getattr(mode, "value", mode)).upper()
    return Image.Resampling[name] if name in Image.Resampling.__members__ else Image.Resampling.BICUBIC


@dataclass(frozen=True)
class _Steps:
    steps: tuple[Any, ...]

    def __call__(self, image: Any) -> Tensor:
        for step in self.steps:
            image = step(image)
        return image  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Normalised:
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image) -> Tensor:
        return functional.normalize(functional.to_tensor(image), list(self.mean), list(self.std))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Processed:
    processor: Any

    def __call__(self, image: Image.Image) -> Tensor:
        given = self.processor(image, return_tensors="pt", do_resize=False, do_center_crop=False)
        return given["pixel_values"][0]  # type: ignore[no-any-return]
