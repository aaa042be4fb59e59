"""A classifier whose head is what its own text tower says now, also when the weights are interpolated."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from lightning_robust.models.classifier import ImageClassifier, split_classifier_state
from lightning_robust.models.zero_shot import zero_shot_head

_KEPT = 32
"""Heads that are remembered: more than a Wise-FT path has points, so that none of them is made twice."""

_GLANCED = 256
"""Values of an entry that a glance looks at."""


@dataclass(frozen=True, eq=False)
class _Glance:
    places: tuple[tuple[int, int], ...]
    values: Tensor

    def equals(self, other: _Glance) -> bool:
        """Whether nothing tells them apart; values that are no numbers always do."""
        return self.places == other.places and torch.equal(self.values, other.values)


class TextHeadClassifier(ImageClassifier):
    """A CLIP as a classifier, both towers trainable: logits `W · h/‖h‖` with W the zero-shot head of its text tower.

    `head.weight` follows the text tower: it is no parameter to train, and every forward in eval mode first makes it the
    head of the text weights as they are. So each point of an interpolated path is a CLIP of its own with its own
    zero-shot head, which plain open_clip makes of the same file; the mixture of two heads is never used.

    Heads are remembered by the sums and norms of the text weights, which are taken of all values at `refresh`, at the
    first batch after a change of mode (each evaluation's), and wherever a batch finds them changed. From one batch to
    the next that is looked for in torch's version counters, the place in memory, and up to 256 values of every entry:
    weights that a callback swaps in, an average or a path are noticed however they were written. After writing a few
    single values past the counters (`.data`) between two batches of one evaluation, call `refresh`.

    Args:
        encoder: A whole CLIP: `encode_image`, `encode_text`, `logit_scale`, and its image tower at `visual`.
        tokenizer: Of the CLIP.
        class_names: The C classes, in the order of the labels.
        templates: Prompts.
        width: Width d of the shared embedding.

    Raises:
        ValueError: If the encoder has no image tower; from `refresh` if it has no text tower, or a text holds a word
            that the tokenizer does not know.
    """

    def __init__(
        self,
        encoder: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        class_names: Sequence[str],
        templates: Sequence[str],
        width: int,
    ) -> None:
        super().__init__(encoder, torch.zeros(len(class_names), width))
        self.encoder.requires_grad_(True)
        self.head.requires_grad_(False)
        self._texts = (tokenizer, list(class_names), list(templates))
        self._heads: OrderedDict[tuple[float, ...], Tensor] = OrderedDict()
        self._seen: tuple[_Glance, tuple[float, ...]] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Classify; in eval mode with the head that the text tower gives now.

        Args:
            images: Preprocessed images, `(n, 3, H, W)`.

        Returns:
            Logits, `(n, C)`.
        """
        if not self.training:
            self._follow()
        return super().forward(images)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; the next batch in eval mode looks at the whole text tower."""
        self._seen = None
        return super().train(mode)

    def refresh(self) -> Tensor:
        """Make `head.weight` the zero-shot head of the text weights as they are.

        Returns:
            W, `(C, d)`: the head's weight itself.
        """
        key = self._fingerprint()
        if key not in self._heads:
            # in full precision whatever the Trainer runs in: these are weights
            with torch.autocast(self.head.weight.device.type, enabled=False):
                self._heads[key] = zero_shot_head(self.encoder, *self._texts).to(self.head.weight.dtype)
            while len(self._heads) > _KEPT:
                self._heads.popitem(last=False)
        self._heads.move_to_end(key)
        self._seen = (self._glance(), key)
        return self._put(key)

    def _follow(self) -> None:
        """Refresh, unless a glance at the text weights finds them as they were."""
        seen = self._seen
        if seen is None or seen[1] not in self._heads or not seen[0].equals(self._glance()):
            self.refresh()
        else:
            self._put(seen[1])  # the head itself may have been overwritten

    def _put(self, key: tuple[float, ...]) -> Tensor:
        weight: Tensor = self.head.weight
        with torch.no_grad():
            weight.copy_(self._heads[key])
        return weight

    def split_state(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Split a state of this classifier into CLIP and head, the head made by that state's own text tower.

        Args:
            state: Entries `encoder.…` and `head.weight`; what it says of the head is not read.

        Returns:
            As `split_classifier_state`.

        Raises:
            ValueError: If an entry belongs to neither.
        """
        clip, head = split_classifier_state(state)
        own = {name: value.detach().clone() for name, value in self._text_entries().items()}
        weight = self.head.weight.detach().clone()
        try:
            self._load_text(clip)
            return clip, {"weight": self.refresh().detach().to(head["weight"].device, copy=True)}
        finally:
            self._load_text(own)
            with torch.no_grad():
                self.head.weight.copy_(weight)

    def _text_entries(self) -> dict[str, Tensor]:
        """All entries of the CLIP but those of its image tower."""
        return {name: value for name, value in self.encoder.state_dict().items() if not name.startswith("visual.")}

    def _load_text(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, entry in self._text_entries().items():
                entry.copy_(values[name])

    def _glance(self) -> _Glance:
        """What is cheap to look at: thousands of values instead of millions."""
        entries = [entry.detach() for entry in self._text_entries().values() if entry.is_floating_point()]
        places = tuple((0 if entry.is_inference() else entry._version, entry.data_ptr()) for entry in entries)
        steps = [max(1, entry.numel() // _GLANCED) for entry in entries]
        values = [entry.reshape(-1)[::step][:_GLANCED].double() for entry, step in zip(entries, steps, strict=True)]
        return _Glance(places, torch.cat(values))

    def _fingerprint(self) -> tuple[float, ...]:
        """What tells text weights apart; by values, because some averages are written past torch's version counters."""
        with torch.no_grad():
            sums = [
                number for entry in self._text_entries().values() if entry.is_floating_point()
                for number in (entry.sum(dtype=torch.float64), torch.linalg.vector_norm(entry, dtype=torch.float64))
            ]  # fmt: skip
            return tuple(torch.stack(sums).tolist())
