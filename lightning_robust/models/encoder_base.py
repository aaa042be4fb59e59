"""What an encoder is, and what all its loaders share: quiet and seeded loading, near names, one line of an error."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.models.modes import kept_random_state


@dataclass(frozen=True)
class Encoder:
    """An image encoder, mostly a whole CLIP, with what belongs to it.

    Attributes:
        name: The name it was loaded by.
        model: The module, in eval mode, on the CPU. Always: `visual` (images → h) and `encode_image(images,
            normalize=False)`. With text also `encode_text(tokens, normalize=False)` and `logit_scale`. Of open_clip's
            sources it is the whole open_clip module.
        transform: The model's own evaluation preprocessing, from a PIL image to a `(3, H, W)` tensor.
        tokenizer: From a list of n texts to a LongTensor `(n, context length)`; refuses where there is no text tower.
        embed_dim: Width d of h (of the shared embedding, where there is text).
        checkpoint_hash: SHA-256 of the weights file; of the state dict where the weights are random or in pieces.
        config: open_clip's configuration, `model_cfg` and `preprocess_cfg`; other sources keep theirs under a key of
            their own name, `timm` or `transformers`.
        folder: The open_clip folder it came from; None for everything else.
        has_text: Whether there is a text tower, and so a zero-shot head.
        average: The entry of the weights file whose averages were taken (`state_dict_ema`, `model_ema`); else empty.
    """

    name: str
    model: nn.Module
    transform: Callable[[Any], Tensor]
    tokenizer: Callable[[list[str]], Tensor]
    embed_dim: int
    checkpoint_hash: str | None
    config: dict[str, Any]
    folder: Path | None = None
    has_text: bool = True
    average: str = ""


class NoTokenizer:
    """In the place of a tokenizer where there is no text tower: it refuses.

    Args:
        name: The encoder's name, for the sentence.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, texts: list[str]) -> Tensor:
        """Refuse.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{self.name!r} has no text tower, so it reads no texts such as {texts[0]!r}; a zero-shot head needs a "
            "CLIP, and an image tower alone a head that is trained (a linear probe)."
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a generator at `seed` inside, and leave every generator of the caller as it was.

    Args:
        seed: Where torch's CPU generator starts.
    """
    with kept_random_state():
        # the CPU generator alone: torch.manual_seed would also reseed the accelerators'
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep loaders quiet: open_clip writes to the root logger and installs a handler on it, others report retries.

    What goes wrong is raised, and said in one sentence.
    """
    placeholder, before = logging.NullHandler(), logging.root.manager.disable
    logging.root.addHandler(placeholder)
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
        logging.root.removeHandler(placeholder)


def near_names(name: str, names: Sequence[str]) -> str:
    """Up to four of the names that are nearest to the given one, quoted; the first ones where none is near.

    Args:
        name: What was asked for, in any case.
        names: What there is.

    Example:
        >>> near_names("vit-b32", ["RN50", "ViT-B-32"])
        "'ViT-B-32'"
    """
    by_lower = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=4, cutoff=0.5) or list(by_lower)[:4]
    return ", ".join(repr(by_lower[candidate]) for candidate in close)


def first_line(error: BaseException) -> str:
    r"""Kind and first line of an error, for use in a sentence.

    Args:
        error: Any.

    Example:
        >>> first_line(OSError("no route\nand more"))
        'OSError: no route'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:100]}" if lines else type(error).__name__
