"""The last steps of a preprocessing, from a PIL image to a normalised tensor, in one buffer and with the same bits."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["FusedTransform", "Transform", "fused", "fused_steps"]

Transform = Callable[[Image.Image], Tensor]

# Classes are told by module and name: importing open_clip and timm to compare with theirs takes seconds.
_COMPOSE: Final = ("torchvision.transforms.transforms", "Compose")
_TO_TENSOR: Final = (
    ("torchvision.transforms.transforms", "ToTensor"),
    ("open_clip.transform", "MaybeToTensor"),
    ("timm.data.transforms", "MaybeToTensor"),
)
_NORMALIZE: Final = ("torchvision.transforms.transforms", "Normalize")
_CONVERT: Final = ("open_clip.transform", "MaybeConvertMode")
#: Such a function has no class of its own.
_CONVERT_FUNCTION: Final = ("open_clip.transform", "_convert_to_rgb")


def fused(transform: Transform) -> Transform:
    """The same preprocessing with less work, where its last steps are `ToTensor` and `Normalize`.

    These two allocate five arrays of the image's size and gather its bytes one by one. Here Pillow hands out lines of
    one colour, they become floats in the output, and the very operations of the two steps, in their order, change it in
    place. Every bit is the same.

    Args:
        transform: From a PIL image to a tensor.

    Returns:
        The faster transform for a torchvision `Compose` of known last steps (open_clip's and timm's are of that kind);
        `transform` itself, the same object, for anything else. What is changed in a transform afterwards does not
        reach its faster one.

    Example:
        >>> from torchvision.transforms import Compose, Normalize, Resize, ToTensor
        >>> plain = Compose([Resize(8), ToTensor(), Normalize((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))])
        >>> image = Image.new("RGB", (20, 20), (200, 30, 7))
        >>> torch.equal(fused(plain)(image), plain(image))
        True
        >>> fused(len) is len
        True
    """
    if _kind(transform) != _COMPOSE:
        return transform
    steps: Sequence[Any] = transform.transforms  # type: ignore[attr-defined]
    faster = fused_steps(steps)
    return FusedTransform(transform, faster) if len(faster) < len(steps) else transform


def fused_steps(steps: Sequence[Any]) -> tuple[Any, ...]:
    """The steps with `ToTensor` and `Normalize` at their end, and a conversion to RGB before them, made one.

    Args:
        steps: What is done to an image, in order.

    Returns:
        Fewer steps with the same result; the steps as they are where they do not end so.
    """
    if len(steps) < 2 or _kind(steps[-2]) not in _TO_TENSOR or _kind(steps[-1]) != _NORMALIZE:
        return tuple(steps)
    mean, std = _three(steps[-1].mean), _three(steps[-1].std)
    if mean is None or std is None or bool((std == 0).any()):
        return tuple(steps)  # Normalize may repeat a number, and has its own word about zeros
    start = len(steps) - (3 if len(steps) > 2 and _converts(steps[-3]) else 2)
    return (*steps[:start], _Pixels(tuple(steps[start:]), mean, std))


class FusedTransform:
    """A transform that does what another one does; it prints as that one.

    Args:
        transform: The other one.
        steps: Its steps, the last ones made one.
    """

    def __init__(self, transform: Transform, steps: tuple[Any, ...]) -> None:
        self.transform, self.steps = transform, steps

    def __call__(self, image: Image.Image) -> Tensor:
        """Preprocess an image."""
        result: Any = image
        for step in self.steps:
            result = step(result)
        return result  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return repr(self.transform)


class _Pixels:
    """From a PIL image to its normalised pixels `(3, H, W)`; what is not in RGB goes through the steps themselves."""

    def __init__(self, steps: tuple[Any, ...], mean: Tensor, std: Tensor) -> None:
        self.steps, self.mean, self.std = steps, mean, std

    def __call__(self, image: Any) -> Any:
        if not (isinstance(image, Image.Image) and image.mode == "RGB") or torch.get_default_dtype() != torch.float32:
            for step in self.steps:
                image = step(image)
            return image
        width, height = image.size
        # "RGB;L" is a line of red, one of green, one of blue: three times faster to turn round than pixel by pixel
        lines = np.frombuffer(image.tobytes("raw", "RGB;L"), np.uint8).reshape(height, 3, width)
        # torch's memory is aligned for its kernels, numpy's is not; where torch puts new tensors is another matter
        pixels = torch.empty(3, height, width, device="cpu")
        pixels.numpy()[...] = lines.transpose(1, 0, 2)
        return pixels.div_(255).sub_(self.mean).div_(self.std)


def _kind(thing: Any) -> tuple[str, str]:
    return type(thing).__module__, type(thing).__qualname__


def _converts(step: Any) -> bool:
    """Whether a step is a conversion to RGB, which leaves an image in RGB as it is."""
    if _kind(step) == _CONVERT:
        return bool(step.mode == "RGB")
    return (getattr(step, "__module__", None), getattr(step, "__qualname__", None)) == _CONVERT_FUNCTION


def _three(numbers: Any) -> Tensor | None:
    """Three numbers as `Normalize` takes them, `(3, 1, 1)`; None for anything else."""
    taken = torch.as_tensor(numbers, dtype=torch.float32, device="cpu")
    return taken.reshape(3, 1, 1).clone() if taken.shape == (3,) else None
