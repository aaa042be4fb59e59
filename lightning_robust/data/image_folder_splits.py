"""Splits drawn class by class: stratified, and unmoved by what is added to other classes."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.labelled.source import LabelledSource

__all__ = ["draw_parts", "draw_shots"]


def draw_parts(source: LabelledSource, shares: Sequence[float], seed: int) -> tuple[NDArray[np.int64], ...]:
    """Divide the images of every class at random.

    The draw within a class is a function of the seed, the class's name and the number of its images, in their order.
    The first part gets what rounding leaves, and at least one image of every class that has any.

    Args:
        source: The images.
        shares: Share of each part; they sum to 1.
        seed: Seed of the draw.

    Returns:
        For each part its images, ascending.

    Example:
        >>> from lightning_robust.data.reading import ImageFiles
        >>> ten = LabelledSource("ten", "ten files", ImageFiles(list("abcdefghij")), np.zeros(10, int), ("cat",))
        >>> [len(part) for part in draw_parts(ten, (0.6, 0.2, 0.2), seed=0)]
        [6, 2, 2]
    """
    parts: list[list[NDArray[np.int64]]] = [[] for _ in shares]
    for members, generator in _by_class(source, seed, "parts"):
        order = generator.permutation(members)
        sizes = _sizes(len(members), shares)
        for part, piece in zip(parts, np.split(order, np.cumsum(sizes)[:-1]), strict=True):
            part.append(piece)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def _sizes(n: int, shares: Sequence[float]) -> list[int]:
    # halves go to the first part, so that of a single image nothing is left over for the others
    others = [math.ceil(share * n - 0.5 - 1e-9) for share in shares[1:]]
    while n - sum(others) < 1:
        others[int(np.argmax(others))] -= 1
    return [n - sum(others), *others]


def draw_shots(source: LabelledSource, shots: int, seed: int) -> NDArray[np.int64]:
    """Draw the same number of images of every class.

    With one seed, fewer shots are among the more.

    Args:
        source: The images.
        shots: Images of each class.
        seed: Seed of the draw.

    Returns:
        The images, ascending.

    Raises:
        ValueError: If `shots` is below 1, or a class has fewer images.
    """
    if shots < 1:
        raise ValueError(f"shots must be at least 1, got {shots}")
    counts = np.bincount(source.labels, minlength=len(source.class_names))
    if (counts < shots).any():
        least = int(counts.argmin())
        raise ValueError(
            f"{shots} shots of every class are wanted, but the class {source.class_names[least]!r} of {source.name} "
            f"has {counts[least]} training images"
        )
    drawn = [generator.permutation(members)[:shots] for members, generator in _by_class(source, seed, "shots")]
    return np.sort(np.concatenate(drawn))


def _by_class(source: LabelledSource, seed: int, purpose: str) -> list[tuple[NDArray[np.int64], np.random.Generator]]:
    """The images of each class that has any, and a generator of its own."""
    order = np.argsort(source.labels, kind="stable")
    counts = np.bincount(source.labels, minlength=len(source.class_names))
    members = np.split(order, np.cumsum(counts)[:-1])
    found = []
    for name, images in zip(source.class_names, members, strict=True):
        if len(images):
            digest = hashlib.sha256(f"{purpose};{name}".encode("utf-8", "surrogateescape")).digest()
            key = int.from_bytes(digest[:8], "little")
            found.append((images, np.random.Generator(np.random.PCG64([seed, key]))))
    return found
