"""Captions that a tokenizer cannot tell apart, told at the first batch instead of never."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_robust.models.word_tokenizer import unknown_words

_SHOWN = 5
"""Unknown words that a warning names."""


def warn_of_captions(tokenizer: Callable[..., Any], captions: Sequence[str] | None, tokens: Tensor) -> None:
    """Warn of captions with words that are unknown to the tokenizer, and of captions that are all the same.

    Args:
        tokenizer: From n texts to tokens. Byte-pair tokenizers know every word.
        captions: The texts, n; None where the data has tokens.
        tokens: Of the captions, `(n, context length)`.

    Example:
        >>> import torch, warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_of_captions(str, None, torch.tensor([[1, 2], [1, 2]]))
        >>> len(caught)
        1
    """
    if captions is not None and (found := unknown_words(tokenizer, captions)):
        unknown = {text for text, _ in found}
        count = sum(text in unknown for text in captions)
        words = list(dict.fromkeys(word for _, word in found))
        shown = ", ".join(repr(word) for word in words[:_SHOWN]) + (", …" if len(words) > _SHOWN else "")
        rank_zero_warn(
            f"Of the first batch's {len(captions)} captions {count} ({count / len(captions):.0%}) hold words that the "
            f"encoder's tokenizer does not know and takes for one and the same: {shown}. Captions that differ in them "
            "alone are identical to the model; take an encoder with another tokenizer, or captions of its words."
        )
    if len(tokens) > 1 and bool((tokens == tokens[0]).all()):
        rank_zero_warn(
            f"All {len(tokens)} captions of the first batch are the same tokens: there is nothing to contrast. Look at "
            "the captions, at their order, and at whether the encoder's tokenizer knows their words."
        )
