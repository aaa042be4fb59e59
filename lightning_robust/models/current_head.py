"""The zero-shot head of a text tower that trains: made again for other weights, and for no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_robust.models.prompts import Template
from lightning_robust.models.zero_shot import zero_shot_head

_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class _Made:
    """A head, and everything that it was made of."""

    head: Tensor
    weights: dict[str, Tensor]
    modules: tuple[nn.Module, ...]
    tokenizer: Callable[[list[str]], Tensor]
    texts: tuple[tuple[str, ...], tuple[Template, ...]]


class CurrentHead:
    """`zero_shot_head` of a model as it is now, remembered until something that it is made of is another.

    A validation asks for the head once, and every monitor once or twice; a thousand classes in eighty templates are
    minutes each time. The last head is given again if, and only if, every parameter and buffer outside the image tower
    has the same bits, type, shape and device as the copy that was kept of it, the modules and the tokenizer are the
    same objects, and the names and templates are equal. Nothing shorter than the values would do: averages are
    swapped in through `.data`, in place, which neither torch's version counters nor the places in memory tell, and sums
    or samples of the values could agree by chance. The comparison costs one reading of the text tower, and the copy
    its memory until `forget`, which training calls before every step; so both are there beside a validation, not
    beside a step's activations. What is set on a module that stays the same object (a mask, another activation) is not
    looked at: call `forget` after that.

    Example:
        >>> from lightning_robust.models import load_encoder
        >>> encoder, current = load_encoder("scenes-clip"), CurrentHead()
        >>> head = current(encoder.model, encoder.tokenizer, ["star", "heart"], ["a {}."])
        >>> again = current(encoder.model, encoder.tokenizer, ["star", "heart"], ["a {}."])
        >>> torch.equal(head, again), current.made
        (True, 1)
    """

    def __init__(self) -> None:
        self._last: _Made | None = None
        #: How many heads were made, not remembered.
        self.made = 0

    def __call__(
        self,
        model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        class_names: Sequence[str],
        templates: Sequence[Template],
    ) -> Tensor:
        """Give the head W, `(C, d)`: the caller's own copy, without gradient.

        Args:
            model: As for `zero_shot_head`, its weights whole on this process.
            tokenizer: Likewise.
            class_names: Likewise.
            templates: Likewise.

        Raises:
            ValueError: As `zero_shot_head`.
        """
        texts = (tuple(class_names), tuple(templates))
        weights, modules = _weights(model), tuple(model.modules())
        # no process may leave the others alone with the reading: weights in shards are put together for it
        sharded = any(hasattr(value, "full_tensor") for value in weights.values())
        last = None if sharded else self._last
        if last is None or not (
            last.texts == texts
            and last.tokenizer is tokenizer
            and _same_objects(last.modules, modules)
            and _same_bits(last.weights, weights)
        ):
            self.forget()  # before the next is made: one copy at a time
            head = zero_shot_head(model, tokenizer, class_names, templates)
            self.made += 1
            if sharded:
                return head
            kept = {name: value.clone() for name, value in weights.items()}
            last = self._last = _Made(head, kept, modules, tokenizer, texts)
        return last.head.clone()

    def forget(self) -> None:
        """Drop the head and the copy of the weights that it was made of."""
        self._last = None


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers outside the image tower, those that no file keeps too."""
    parameters, buffers = (each(remove_duplicate=False) for each in (model.named_parameters, model.named_buffers))
    entries = [*parameters, *buffers]
    return {name: value.detach() for name, value in entries if not name.startswith("visual.")}


def _same_objects(first: tuple[nn.Module, ...], second: tuple[nn.Module, ...]) -> bool:
    return len(first) == len(second) and all(one is other for one, other in zip(first, second, strict=True))


def _same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two states are one bit by bit; unlike `==`, zeros of both signs differ and NaN is itself."""
    return first.keys() == second.keys() and all(_bits_equal(first[name], value) for name, value in second.items())


def _bits_equal(first: Tensor, second: Tensor) -> bool:
    if (first.dtype, first.shape, first.device) != (second.dtype, second.shape, second.device):
        return False
    # as whole words, which are faster to compare than bytes
    words = _WORDS.get(first.element_size(), torch.uint8)
    return torch.equal(first.reshape(-1).view(words), second.reshape(-1).view(words))
