"""The zero-shot head: class names and prompt templates, read by the text tower, become a linear head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_robust.models.modes import eval_mode
from lightning_robust.models.word_tokenizer import unknown_words


def zero_shot_head(
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    class_names: Sequence[str],
    templates: Sequence[str],
    *,
    batch_size: int = 256,
) -> Tensor:
    """Build the head W of a zero-shot classifier.

    Row c is the mean over the templates of the normalised text embeddings of class c, normalised again, times
    `exp(logit_scale)`; with normalised image embeddings, `h @ W.T` are CLIP's logits. (Radford et al. 2021,
    arXiv 2103.00020, section 3.1.4.) Modes, gradients and random states stay as they are.

    Args:
        model: A CLIP with `encode_text(tokens, normalize=True)` and `logit_scale`.
        tokenizer: From n texts to a LongTensor `(n, context length)`.
        class_names: The C names, in the order of the labels.
        templates: Prompts in which `{}` stands for the class name.
        batch_size: The most texts that are encoded at once.

    Returns:
        W, `(C, d)`, in the dtype and on the device of the text embeddings, without gradient.

    Raises:
        ValueError: If names or templates are empty, a template lacks `{}`, or a text holds a word that the tokenizer
            does not know.
    """
    texts = _prompts(class_names, templates)
    _refuse_unknown(tokenizer, class_names, templates)
    device = next(model.parameters()).device
    encoder: Any = model
    with torch.no_grad(), eval_mode(model):
        pieces = [
            encoder.encode_text(tokenizer(texts[start : start + batch_size]).to(device), normalize=True)
            for start in range(0, len(texts), batch_size)
        ]
        embeddings = torch.cat(pieces).reshape(len(class_names), len(templates), -1)
        directions = functional.normalize(embeddings.mean(dim=1), dim=-1)
        head: Tensor = directions * encoder.logit_scale.detach().exp()
    return head


def _prompts(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    if isinstance(class_names, str) or isinstance(templates, str):
        raise ValueError("class_names and templates are lists of texts, not one text.")
    if not class_names or not templates:
        raise ValueError(
            f"A zero-shot head needs class names and templates, not {len(class_names)} and {len(templates)}."
        )
    if blank := [template for template in templates if "{}" not in template]:
        raise ValueError(f"The template {blank[0]!r} has no {{}} where the class name goes.")
    return [template.replace("{}", name) for name in class_names for template in templates]


def _refuse_unknown(tokenizer: Callable[..., Any], class_names: Sequence[str], templates: Sequence[str]) -> None:
    if found := unknown_words(tokenizer, class_names):
        name, word = found[0]
        raise ValueError(
            f"The encoder's tokenizer does not know the word {word!r} of the class name {name!r}; "
            "choose names from its vocabulary, or another encoder."
        )
    if found := unknown_words(tokenizer, [template.replace("{}", " ") for template in templates]):
        text, word = found[0]
        raise ValueError(f"The encoder's tokenizer does not know the word {word!r} of the template {text!r}.")
