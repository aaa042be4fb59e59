"""What one model answered on every evaluation set, image by image: plain values that are kept while a run goes on."""

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ANSWERS_SCHEMA", "ModelAnswers", "SetAnswers", "pack", "unpack"]

ANSWERS_SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class SetAnswers:
    """One model on one evaluation set.

    Attributes:
        set: name of the set.
        images: how many images it has, readable or not.
        read: which of them were read, packed.
        correct: which were answered right, packed.
        matched_correct, matched_images: the reference images of the classes that the set covers; None for the
            reference itself.
        unreadable: what was left out, a sentence for each image.
        not_numbers: images on which the logits are no numbers, which counts as wrong; None where schema 1 did not tell.
    """

    set: str
    images: int
    read: str
    correct: str
    matched_correct: int | None = None
    matched_images: int | None = None
    unreadable: tuple[str, ...] = ()
    not_numbers: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelAnswers:
    """One model on every evaluation set, the reference first.

    Attributes:
        schema_version: version of this layout.
        name, origin, checkpoint_hash, alpha: as in `ModelEvaluation`.
        sets: by set.
    """

    schema_version: int = ANSWERS_SCHEMA
    name: str
    origin: str
    checkpoint_hash: str
    alpha: float | None
    sets: tuple[SetAnswers, ...]


def pack(flags: NDArray[np.bool_]) -> str:
    """Booleans as text, eight to a byte.

    Args:
        flags: `(n,)`.

    Example:
        >>> unpack(pack(np.array([True, False, True])), 3).tolist()
        [True, False, True]
    """
    return base64.b64encode(np.packbits(flags).tobytes()).decode("ascii")


def unpack(text: str, count: int) -> NDArray[np.bool_]:
    """The booleans of `pack`.

    Args:
        text: What `pack` gave.
        count: How many.

    Raises:
        ValueError: If the text holds another number of them.
    """
    packed = np.frombuffer(base64.b64decode(text.encode("ascii"), validate=True), dtype=np.uint8)
    if len(packed) != (count + 7) // 8:
        raise ValueError(f"{count} flags are {(count + 7) // 8} bytes, got {len(packed)}")
    return np.unpackbits(packed, count=count).astype(bool)
