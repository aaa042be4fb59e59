"""What a head reads, set by set, with the answers of the whole head: what every pruned head is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lightning_robust.cli.head_features import HeadFeatures, HeadModel, SetFeatures
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.models.evaluate_rules import AnswerRule

__all__ = ["HeadParts", "Part", "head_parts", "what_head_reads"]


@dataclass(frozen=True, eq=False)
class Part:
    """One set under every rule that is asked of its images.

    Tensors are where pruned heads answer: on a GPU where models run on one, else on the CPU.

    Attributes:
        set: Its name.
        h: Representations as the encoder gives them, `(n, d)`.
        read: What the head reads, `(n, d)`: of unit length where the model normalises.
        targets: Reference classes, `(n,)`.
        rules: By name; `""` is the set's own, on the reference also each other rule of a shift, by that shift's name.
        whole: By rule, the classes that the whole head predicts, `(n,)`.
    """

    set: str
    h: Tensor
    read: Tensor
    targets: Tensor
    rules: Mapping[str, AnswerRule]
    whole: Mapping[str, Tensor]

    def split(self, images: int) -> list[Part]:
        """The same in pieces of so many images; one that has none where there are none."""
        starts = range(0, max(1, len(self.h)), images)
        return [self._rows(slice(start, start + images)) for start in starts]

    def _rows(self, rows: slice) -> Part:
        whole = {name: classes[rows] for name, classes in self.whole.items()}
        return Part(self.set, self.h[rows], self.read[rows], self.targets[rows], self.rules, whole)


@dataclass(frozen=True, eq=False)
class HeadParts:
    """One model on every set.

    Attributes:
        model: The model's head.
        calibration: What the head reads of the images that orders are estimated on, before it is normalised.
        parts: By set, the reference first.
        matched: By shift, which of the reference's rules is the shift's own.
    """

    model: HeadModel
    calibration: Tensor
    parts: tuple[Part, ...]
    matched: Mapping[str, str]


def head_parts(features: HeadFeatures, opened: Opened) -> HeadParts:
    """Let the whole head answer, as `evaluate` lets it.

    Args:
        features: The head and what it reads.
        opened: Sets and rules.
    """
    rules = opened.rules(features.model.own_heads)
    asked, matched = opened.reference_rules(rules)
    # other accelerators have no float64, in which pruned heads answer
    device = opened.device if opened.device.type == "cuda" else torch.device("cpu")
    parts = tuple(
        _part(found, features.model, asked if index == 0 else {"": rules[found.set]}, device)
        for index, found in enumerate(features.judged)
    )
    return HeadParts(features.model, features.calibration.h, parts, matched)


def _part(found: SetFeatures, model: HeadModel, rules: Mapping[str, AnswerRule], device: torch.device) -> Part:
    h = found.h.to(device)
    read = what_head_reads(h, model)
    logits = functional.linear(read, model.head.to(device), None if model.bias is None else model.bias.to(device))
    whole = {
        name: rule.predict(logits, None if rule.head is None else functional.linear(read, rule.head.to(device)))
        for name, rule in rules.items()
    }
    return Part(found.set, h, read, found.targets.to(device), rules, whole)


def what_head_reads(h: Tensor, model: HeadModel) -> Tensor:
    """The representations as the head reads them.

    Args:
        h: As the encoder gives them, `(n, d)`.
        model: The head.
    """
    return functional.normalize(h, dim=-1) if model.unit_norm else h


def finite(h: Tensor) -> Tensor:
    """The rows whose every feature is a number, `(m, d)`."""
    return h[torch.isfinite(h).all(dim=1)]
