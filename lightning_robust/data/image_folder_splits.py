"""Splits drawn class by class: stratified, and all but unmoved by images that are added or taken away."""

import hashlib
import math
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.labelled.source import LabelledSource

__all__ = ["draw_parts", "draw_shots", "split_digest"]


def draw_parts(source: LabelledSource, shares: Sequence[float], seed: int) -> tuple[NDArray[np.int64], ...]:
    """Divide the images of every class at random.

    The images of a class are ranked by a hash of the seed, the class's name and their own (`LabelledSource.keys`), and
    the ranking is cut. One image more or less in a class moves at most one other image over each cut, and none of
    another class. The first part gets what rounding leaves, and at least one image of every class that has any.

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
    for ranked in _ranked(source, seed, "parts"):
        sizes = _sizes(len(ranked), shares)
        for part, piece in zip(parts, np.split(ranked, np.cumsum(sizes)[:-1]), strict=True):
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

    With one seed, fewer shots are among the more, and an image that is added to a class displaces at most one.

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
    return np.sort(np.concatenate([ranked[:shots] for ranked in _ranked(source, seed, "shots")]))


def split_digest(parts: Mapping[str, LabelledSource]) -> str:
    """Tells divisions apart: eight digits of a hash over which image is in which part, and of which class.

    Args:
        parts: The images of each part.
    """
    lines = [
        f"{part};{source.class_names[label]};{key}"
        for part, source in parts.items()
        for key, label in zip(source.keys(), source.labels.tolist(), strict=True)
    ]
    return _hash("\n".join(sorted(lines))).hex()[:8]


def _ranked(source: LabelledSource, seed: int, purpose: str) -> list[NDArray[np.int64]]:
    """The images of each class that has any, in an order that is random but each image's own."""
    keys = source.keys()
    order = np.argsort(source.labels, kind="stable")
    counts = np.bincount(source.labels, minlength=len(source.class_names))
    ranked = []
    for name, images in zip(source.class_names, np.split(order, np.cumsum(counts)[:-1]), strict=True):
        if len(images):
            hashes = [_hash(f"{purpose};{seed};{name};{keys[image]}") for image in images.tolist()]
            ranked.append(images[sorted(range(len(images)), key=hashes.__getitem__)])
    return ranked


def _hash(text: str) -> bytes:
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape")).digest()
