"""The zero-shot head: class names and prompt templates, read by the text tower, become a linear head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_robust.models.head_cache import head_key, keep_head, read_head
from lightning_robust.models.modes import eval_mode
from lightning_robust.models.word_tokenizer import unknown_words

_PLACES = ("{}", "{c}")  # open_clip's and ours, and CLIP_benchmark's


def zero_shot_head(
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    class_names: Sequence[str],
    templates: Sequence[str | Callable[[str], str]],
    *,
    batch_size: int = 256,
    cache: bool = False,
) -> Tensor:
    """Build the head W of a zero-shot classifier.

    Row c is the mean over the templates of the normalised text embeddings of class c, normalised again, times
    `exp(logit_scale)`; with normalised image embeddings, `h @ W.T` are CLIP's logits. (Radford et al. 2021,
    arXiv 2103.00020, section 3.1.4.) Modes, gradients and random states stay as they are.

    Args:
        model: A CLIP with `encode_text(tokens, normalize=True)` and `logit_scale`.
        tokenizer: From n texts to a LongTensor `(n, context length)`.
        class_names: The C names, in the order of the labels; `open_clip.IMAGENET_CLASSNAMES` or any others.
        templates: Prompts in which `{}` or `{c}` stands for the class name, or functions of it: the user's own, or
            open_clip's `OPENAI_IMAGENET_TEMPLATES` and `SIMPLE_IMAGENET_TEMPLATES`.
        batch_size: The most texts that are encoded at once. Memory beyond the model is that of one batch and W.
        cache: Whether to look into the cache on disk first, and keep the head there (see `head_cache`). Worth it for
            thousands of texts; it is never needed.

    Returns:
        W, `(C, d)`, in the dtype and on the device of the text embeddings, without gradient.

    Raises:
        ValueError: If there is no text tower, names or templates are empty, a template has no place for the name, a
            text holds a word that the tokenizer does not know, or `batch_size` < 1.
    """
    if not hasattr(model, "encode_text") or not hasattr(model, "logit_scale"):
        raise ValueError(
            f"A zero-shot head is made by a text tower, and {type(model).__name__} has no text tower: an image tower "
            "alone takes a head that is trained, such as a linear probe."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size counts texts, so it is at least 1, not {batch_size}.")
    prompts = _checked(class_names, templates)
    _refuse_unknown(tokenizer, class_names, prompts)
    parameter = next(model.parameters())
    key = head_key(model, tokenizer, class_names, prompts) if cache else None
    if key is not None and (kept := read_head(key, len(class_names))) is not None:
        return kept.to(parameter.device)
    encoder: Any = model
    with torch.no_grad(), eval_mode(model):
        rows = list(_directions(encoder, tokenizer, class_names, prompts, batch_size, parameter.device))
        head: Tensor = torch.cat(rows) * encoder.logit_scale.detach().exp()
    if key is not None:
        keep_head(key, head)
    return head


def _directions(
    encoder: Any,
    tokenizer: Callable[[list[str]], Tensor],
    class_names: Sequence[str],
    prompts: Sequence[str],
    batch_size: int,
    device: torch.device,
) -> Iterator[Tensor]:
    """Unit rows of the head, as many at a time as a batch completes; no more embeddings are kept than those."""
    total, size = len(class_names) * len(prompts), len(prompts)
    waiting: list[Tensor] = []
    for start in range(0, total, batch_size):
        texts = [
            _filled(prompts[place % size], class_names[place // size])
            for place in range(start, min(start + batch_size, total))
        ]
        waiting.append(encoder.encode_text(tokenizer(texts).to(device), normalize=True))
        held = sum(len(piece) for piece in waiting)
        if whole := held // size:
            embeddings = torch.cat(waiting)
            waiting = [embeddings[whole * size :].clone()]
            per_class = embeddings[: whole * size].reshape(whole, size, -1)
            yield functional.normalize(per_class.mean(dim=1), dim=-1)


def _checked(class_names: Sequence[str], templates: Sequence[str | Callable[[str], str]]) -> list[str]:
    """The templates as texts."""
    if isinstance(class_names, str) or isinstance(templates, str):
        raise ValueError("class_names and templates are lists of texts, not one text.")
    if not class_names or not templates:
        raise ValueError(
            f"A zero-shot head needs class names and templates, not {len(class_names)} and {len(templates)}."
        )
    if strange := [name for name in class_names if not isinstance(name, str) or not name.strip()]:
        raise ValueError(f"A class name is a text with a word in it, not {strange[0]!r}.")
    prompts = [template("{}") if callable(template) else template for template in templates]
    if blank := [prompt for prompt in prompts if not any(place in prompt for place in _PLACES)]:
        raise ValueError(f"The template {blank[0]!r} has no {{}} where the class name goes.")
    return prompts


def _filled(prompt: str, name: str) -> str:
    for place in _PLACES:
        prompt = prompt.replace(place, name)
    return prompt


def _refuse_unknown(tokenizer: Callable[..., Any], class_names: Sequence[str], prompts: Sequence[str]) -> None:
    if found := unknown_words(tokenizer, class_names):
        name, word = found[0]
        raise ValueError(
            f"The encoder's tokenizer does not know the word {word!r} of the class name {name!r}; "
            "choose names from its vocabulary, or another encoder."
        )
    if found := unknown_words(tokenizer, [_filled(prompt, " ") for prompt in prompts]):
        text, word = found[0]
        raise ValueError(f"The encoder's tokenizer does not know the word {word!r} of the template {text!r}.")
