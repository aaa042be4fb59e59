"""Batches put together while their samples are read: each image is written straight to its place."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info

__all__ = ["DifferentSizesError", "Samples", "collate"]

_ALIGNED = 64


class DifferentSizesError(ValueError):
    """Images of one batch differ in size or type.

    Example:
        >>> collate([torch.zeros(2), torch.zeros(3)], 2)
        Traceback (most recent call last):
        lightning_robust.data.collating.DifferentSizesError: The transform gives images of different sizes, (2,) and \
(3,); it has to resize and crop
    """


class Samples:
    """Samples of a data set, read when they are iterated over.

    A data set whose `__getitems__` returns these lets the `DataLoader` collate one image after another. A list of
    samples would hold a second copy of the batch.

    Args:
        dataset: The data set.
        indices: Which samples.

    Example:
        >>> list(Samples(torch.arange(10) * 2, [3, 4]))
        [tensor(6), tensor(8)]
    """

    def __init__(self, dataset: Dataset[Any] | Sequence[Any], indices: Sequence[Any]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Any]:
        return (self.dataset[index] for index in self.indices)


def collate(samples: Iterable[Any], limit: int) -> Any:
    """What torch's `default_collate` gives for the samples, a tuple where they are tuples.

    Args:
        samples: Images (tensors, arrays or numbers), or tuples that start with one.
        limit: So many samples there are at most.

    Returns:
        The batch; None if there are no samples. In a worker process its images are in shared memory.

    Raises:
        DifferentSizesError: If images differ in size or type.

    Example:
        >>> images, targets = collate(((torch.full((2,), k), k) for k in range(3)), 5)
        >>> images.tolist(), targets.tolist()
        ([[0, 0], [1, 1], [2, 2]], [0, 1, 2])
    """
    images: Tensor | None = None
    count, others, paired = 0, list[Any](), False
    for sample in samples:
        paired = isinstance(sample, tuple)
        first = sample[0] if paired else sample
        image = first if isinstance(first, Tensor) else _as_tensor(first)
        if images is None:
            images = _room(limit, image)
        elif image.shape != images.shape[1:] or image.dtype != images.dtype:
            raise DifferentSizesError(_difference(images[0], image))
        images[count] = image
        if paired:
            others.append(sample[1:])
        count += 1
    if images is None:
        return None
    taken = images if count == limit else images[:count].clone()
    return (taken, *default_collate(others)) if paired else taken


def _as_tensor(image: Any) -> Tensor:
    # default_collate makes float64 of Python's numbers, whatever torch's default is
    return torch.as_tensor(image, dtype=torch.float64 if isinstance(image, float) else None)


def _room(n: int, image: Tensor) -> Tensor:
    """Memory for n such images."""
    shape = (n, *image.shape)
    if image.device.type != "cpu":
        return image.new_empty(shape)
    size = math.prod(shape) * image.element_size()
    if get_worker_info() is not None:  # a batch elsewhere would be copied once more on its way
        empty: Any = torch.empty(0, dtype=image.dtype, device="cpu")
        shared: Tensor = empty.set_(torch.UntypedStorage._new_shared(size), 0, shape)
        return shared
    # numpy asks for huge pages where torch does not: a new batch of 40 MB is then 20 page faults instead of 10,000
    memory = np.empty(size + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    return torch.from_numpy(memory[start : start + size]).view(image.dtype).view(shape)


def _difference(one: Tensor, other: Tensor) -> str:
    if one.shape == other.shape:
        return f"The transform gives images of different types, {one.dtype} and {other.dtype}"
    shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
    return f"The transform gives images of different sizes, {shapes}; it has to resize and crop"
