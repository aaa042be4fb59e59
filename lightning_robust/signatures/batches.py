"""Images and labels of a batch, whatever its format: tensors, tuples, mappings, objects."""

import copy
from collections import UserDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["batch_to", "images_from_batch", "labels_from_batch"]

_IMAGES = ("pixel_values", "image", "images", "img", "imgs", "inputs", "input", "x", "data")
_LABELS = ("labels", "label", "targets", "target", "y", "concepts")


def images_from_batch(batch: Any) -> Tensor:
    """Find the images of a batch, batch first.

    A tensor is itself. Of a tuple or list the first item that is or holds images; integer tensors (indices, token
    ids) only if there is nothing else. Of a mapping or an object the first there is of ``pixel_values``, ``image``,
    ``images``, ``img``, ``imgs``, ``inputs``, ``input``, ``x``, ``data``; or else its only floating-point tensor with
    four dimensions.

    Args:
        batch: what a loader gave.

    Returns:
        The images as they are.

    Raises:
        ValueError: if there are none; says what the batch is.

    Example:
        >>> images_from_batch({"pixel_values": torch.zeros(2, 3, 4, 4), "labels": torch.zeros(2)}).shape
        torch.Size([2, 3, 4, 4])
    """
    found = _images(batch)
    if found is None:
        raise ValueError(
            f"a batch is {_described(batch)}, in which no images were found; give images_from_batch=, a function that "
            "takes a batch and returns them."
        )
    return found


def labels_from_batch(batch: Any) -> Any:
    """Find the labels of a batch.

    Of a tuple or list the item after the images, if it is a tensor (or has a ``shape``, as sparse labels do). Of a
    mapping or an object the first there is of ``labels``, ``label``, ``targets``, ``target``, ``y``, ``concepts``.

    Args:
        batch: what a loader gave.

    Returns:
        The labels as they are, or None.

    Example:
        >>> labels_from_batch((torch.zeros(2, 3, 4, 4), torch.ones(2, 5))).shape
        torch.Size([2, 5])
    """
    if isinstance(batch, tuple | list) and not hasattr(batch, "_fields"):
        position = _position_of_images(batch)
        if position is None:
            return None
        after = batch[position + 1] if position + 1 < len(batch) else None
        return after if hasattr(after, "shape") else labels_from_batch(batch[position])
    named = next((value for name in _LABELS if hasattr(value := _named(batch, name), "shape")), None)
    if named is None and isinstance(batch, tuple):
        return labels_from_batch(tuple(batch))
    return named


def batch_to(batch: Any, device: torch.device | None) -> Any:
    """Move the tensors of a batch, which keeps its form.

    Args:
        batch: what a loader gave: tensors, anything with a method ``to``, and tuples, lists and mappings of them.
        device: where to; None leaves the batch as it is.

    Returns:
        A batch of the same form; the given one is not changed.

    Example:
        >>> batch_to([torch.zeros(1), "a.png"], torch.device("meta"))[0].device.type
        'meta'
    """
    if device is None:
        return batch
    if callable(getattr(batch, "to", None)):
        # the mappings of transformers move themselves, so a copy of them is asked
        mover: Any = copy.copy(batch) if isinstance(batch, UserDict) else batch
        return mover.to(device)
    if isinstance(batch, dict):
        moved = copy.copy(batch)
        for key, value in batch.items():
            moved[key] = batch_to(value, device)
        return moved
    if isinstance(batch, Mapping):
        return {key: batch_to(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(batch_to(value, device) for value in batch))
    return type(batch)(batch_to(value, device) for value in batch) if type(batch) in (tuple, list) else batch


def _images(batch: Any) -> Tensor | None:
    if isinstance(batch, Tensor):
        return batch
    named = next((value for name in _IMAGES if isinstance(value := _named(batch, name), Tensor)), None)
    if named is not None:
        return named
    if isinstance(batch, tuple | list):
        position = _position_of_images(batch)
        return None if position is None else _images(batch[position])
    if isinstance(batch, Mapping):
        maps = [value for value in batch.values() if isinstance(value, Tensor) and _is_float(value) and value.ndim == 4]
        return maps[0] if len(maps) == 1 else None
    return None


def _position_of_images(batch: tuple[Any, ...] | list[Any]) -> int | None:
    found = [(index, images) for index, item in enumerate(batch) if (images := _images(item)) is not None]
    likely = [index for index, images in found if _is_float(images) or images.ndim == 4]
    return likely[0] if likely else found[0][0] if found else None


def _is_float(value: Tensor) -> bool:
    return value.is_floating_point()


def _named(batch: Any, name: str) -> Any:
    if isinstance(batch, Mapping):
        return batch.get(name)
    # what has a shape is a part of a batch itself (tensors, sparse labels), whatever it calls its properties
    return None if isinstance(batch, list) or hasattr(batch, "shape") else getattr(batch, name, None)


def _described(batch: Any) -> str:
    kind = type(batch).__name__
    if isinstance(batch, Mapping):
        return f"{kind} with the keys {', '.join(map(repr, batch))}"
    return f"{kind} of {', '.join(type(item).__name__ for item in batch)}" if isinstance(batch, tuple | list) else kind
