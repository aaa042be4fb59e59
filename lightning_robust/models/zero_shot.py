"""The zero-shot head: class names and prompt templates, read by the text tower, become a linear head."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_robust.models.head_cache import head_key, keep_head, read_head
from lightning_robust.models.modes import eval_mode
from lightning_robust.models.prompts import Template, check_known, check_prompts, filled
from lightning_robust.models.short_context import encode_texts

_EQUAL = 1e-5
"""Two unit rows that are nearer than that differ by rounding alone: the tower read the same of both."""


def zero_shot_head(
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    class_names: Sequence[str],
    templates: Sequence[Template],
    *,
    batch_size: int = 256,
    cache: bool = False,
) -> Tensor:
    """Build the head W of a zero-shot classifier.

    Row c is the mean over the templates of the normalised text embeddings of class c, normalised again, times
    `exp(logit_scale)`; with normalised image embeddings, `h @ W.T` are CLIP's logits. (Radford et al. 2021,
    arXiv 2103.00020, section 3.1.4.) Padding of a long causal context is not computed (`encode_texts`). Modes,
    gradients and random states stay as they are.

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
        ValueError: If there is no text tower, names or templates are empty, a name stands twice (but for the two that
            do in ImageNet's own list), a template has no place for the name, a text holds a word that the tokenizer
            does not know, different names get the same row (their texts were cut, or the tower is read at the wrong
            token), or `batch_size` < 1.
    """
    if not hasattr(model, "encode_text") or not hasattr(model, "logit_scale"):
        raise ValueError(
            f"A zero-shot head is made by a text tower, and {type(model).__name__} has no text tower: an image tower "
            "alone takes a head that is trained, such as a linear probe."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size counts texts, so it is at least 1, not {batch_size}.")
    check_prompts(class_names, templates)
    check_known(tokenizer, class_names, templates)
    device = next(model.parameters()).device
    encoder: Any = model
    # in the weights' own precision whatever the caller computes in: a head is weights too
    with torch.no_grad(), eval_mode(model), torch.autocast(device.type, enabled=False):
        key = head_key(model, tokenizer, class_names, templates) if cache else None
        if key is not None and (kept := read_head(key, len(class_names))) is not None:
            return kept.to(device)
        directions = torch.cat(list(_directions(model, tokenizer, class_names, templates, batch_size, device)))
        _refuse_equal(directions, class_names)
        head: Tensor = directions * encoder.logit_scale.detach().exp()
    if key is not None:
        keep_head(key, head)
    return head


def _directions(
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    class_names: Sequence[str],
    templates: Sequence[Template],
    batch_size: int,
    device: torch.device,
) -> Iterator[Tensor]:
    """Unit rows of the head, as many at a time as a batch completes; no more embeddings are kept than those."""
    total, size = len(class_names) * len(templates), len(templates)
    waiting: list[Tensor] = []
    for start in range(0, total, batch_size):
        texts = [
            filled(templates[place % size], class_names[place // size])
            for place in range(start, min(start + batch_size, total))
        ]
        waiting.append(encode_texts(model, tokenizer(texts).to(device)))
        held = sum(len(piece) for piece in waiting)
        if whole := held // size:
            embeddings = torch.cat(waiting)
            waiting = [embeddings[whole * size :].clone()]
            per_class = embeddings[: whole * size].reshape(whole, size, -1)
            yield functional.normalize(per_class.mean(dim=1), dim=-1)


def _refuse_equal(directions: Tensor, class_names: Sequence[str]) -> None:
    """Refuse equal rows of different names.

    Equal rows are neighbours once all are sorted by any one number that is a function of the row.
    """
    rows = directions.double().cpu()
    order = (rows @ torch.arange(rows.shape[1], dtype=rows.dtype).add(1).sin()).argsort().tolist()
    for first, second in itertools.pairwise(order):
        if class_names[first] != class_names[second] and bool((rows[first] - rows[second]).norm() < _EQUAL):
            one, other = sorted((first, second))
            raise ValueError(
                f"The text tower gives {class_names[one]!r} and {class_names[other]!r} the same row: the names stand "
                "beyond its context length, are one to its tokenizer, or it reads the wrong end token; shorter "
                "templates or names, or the tokenizer of these weights, would work."
            )
