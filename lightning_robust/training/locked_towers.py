"""Locked towers: the parts of a CLIP that contrastive training leaves as they are."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

_TEXT_PARTS = (
    "text", "text_model", "token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection",
)  # fmt: skip


def check_locks(image: bool | int, text: bool | int) -> None:
    """Refuse locks that say nothing or leave nothing to train.

    Args:
        image: As `lock_image` of `lock_towers`.
        text: As `lock_text`.

    Raises:
        ValueError: If a number of groups is below 1, or both towers are locked whole.
    """
    for name, lock in (("lock_image", image), ("lock_text", text)):
        if not isinstance(lock, bool) and lock < 1:
            raise ValueError(f"{name} is true, false or a number of last groups left open, at least 1, not {lock}.")
    if image is True and text is True:
        raise ValueError("lock_image and lock_text together leave nothing to train: lock one, or leave groups open.")


def lock_towers(encoder: nn.Module, image: bool | int, text: bool | int) -> None:
    """Lock the towers of a CLIP: locked parameters take no gradient.

    A locked image tower with a text tower that learns to read it is locked-image tuning (LiT, Zhai et al. 2022, arXiv
    2111.07991). Groups are open_clip's: of a vision transformer the input, each block (the last with its norm) and the
    projection; of a text tower likewise; of an image tower of timm those of timm.

    Args:
        encoder: A CLIP of `models.load_encoder`.
        image: True locks the whole image tower, a number all but so many of its last groups, False nothing.
        text: The same for the text tower.

    Raises:
        ValueError: If the tower cannot be locked in parts, or so many groups open it whole.
    """
    check_locks(image, text)
    if image is not False:
        _lock(encoder, "image", image, _image_parameters(encoder))
    if text is not False:
        _lock(encoder, "text", text, _text_parameters(encoder))


def _lock(encoder: Any, tower: str, lock: bool | int, parameters: list[nn.Parameter]) -> None:
    if lock is True:
        for parameter in parameters:
            parameter.requires_grad_(False)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # open_clip takes timm's groups from an older place
            getattr(encoder, f"lock_{tower}_tower")(int(lock))
    except (AssertionError, AttributeError) as error:  # open_clip asserts where a tower has no groups
        raise ValueError(
            f"lock_{tower}={lock} leaves groups of a tower open, and this tower has none: true locks it whole, and a "
            "transformer of open_clip can be locked in parts."
        ) from error
    locked = sum(not parameter.requires_grad for parameter in parameters)
    if locked in (0, len(parameters)):
        raise ValueError(
            f"lock_{tower}={lock} leaves {'nothing' if locked else 'all'} of the {tower} tower open: take another "
            "number of groups, true or false."
        )


def _image_parameters(encoder: nn.Module) -> list[nn.Parameter]:
    return list(encoder.get_submodule("visual").parameters())


def _text_parameters(encoder: nn.Module) -> list[nn.Parameter]:
    return [value for name, value in encoder.named_parameters() if name.partition(".")[0] in _TEXT_PARTS]
