"""How the images of one evaluation set are answered: all classes, a mask's, or a zero-shot head of the set's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_robust.models.class_mask import NO_CLASS, ClassMask, largest_class
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.evaluate_points import Answer


@dataclass(frozen=True, eq=False)
class AnswerRule:
    """The rule of one evaluation set.

    Attributes:
        mask: What the logits are restricted to; None for all classes.
        head: A zero-shot head of the set's own, `(L, d)`, one row for each of its labels, in place of the model's;
            the labels are the groups of the mask.
    """

    mask: ClassMask | None = None
    head: Tensor | None = None

    def predict(self, logits: Tensor, own: Tensor | None = None) -> Tensor:
        """Predicted reference classes, `(n,)`; `NO_CLASS`, which is never right, where logits are no numbers.

        Args:
            logits: Of the model's head, `(n, C)`.
            own: Of the set's own head, `(n, L)`, where it has one.
        """
        if own is not None:
            labels = largest_class(own)
            if self.mask is None:
                return labels
            first = torch.tensor([*(group[0] for group in self.mask.groups), NO_CLASS], device=own.device)
            return first[labels]  # no label is the last entry
        return largest_class(logits if self.mask is None else self.mask(logits))

    def correct(self, predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Which predictions are right, and which images count: those of the classes that the set covers.

        Args:
            predicted: Predicted reference classes, `(…, n)`.
            targets: True reference classes, `(n,)`.

        Returns:
            Right or wrong, bool `(…, n)`, never right where an image does not count; and bool `(n,)`.
        """
        if self.mask is None:
            return predicted == targets, torch.ones_like(targets, dtype=torch.bool)
        canonical = self.mask.canonical(targets)
        covered = canonical >= 0
        return (predicted == canonical) & covered, covered


def answer_by(rules: Mapping[str, AnswerRule]) -> Answer:
    """An answer under several rules from one forward pass, for `evaluate_points`.

    Args:
        rules: By name.

    Returns:
        From a model and a batch `(images, targets, …)` to the predictions under each rule, and the targets.

    Example:
        >>> rules = {"all": AnswerRule(), "two": AnswerRule(ClassMask([(0,), (1,)]))}
        >>> predicted, _ = answer_by(rules)(nn.Identity(), (torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([0])))
        >>> {name: classes.tolist() for name, classes in predicted.items()}
        {'all': [2], 'two': [1]}
    """
    own_heads = any(rule.head is not None for rule in rules.values())

    def answer(model: nn.Module, batch: Any) -> tuple[dict[str, Tensor], Tensor]:
        if not own_heads:
            logits = model(batch[0])
            return {name: rule.predict(logits) for name, rule in rules.items()}, batch[1]
        if not isinstance(model, ImageClassifier):
            raise ValueError(f"a set with class names of its own needs a CLIP with a linear head, not a {type(model)}")
        unit = model.normalize(model.encode(batch[0]))
        logits = model.head(unit)
        owns = {
            name: None if rule.head is None else functional.linear(unit, rule.head.to(unit))
            for name, rule in rules.items()
        }
        return {name: rule.predict(logits, owns[name]) for name, rule in rules.items()}, batch[1]

    return answer


def rules_of_reference(shifts: Mapping[str, AnswerRule], reference: AnswerRule) -> dict[str, AnswerRule]:
    """What is asked of a reference image: its own rule, and each distinct rule of the shifts once.

    Args:
        shifts: The rule of each shift.
        reference: The reference's own.

    Returns:
        Rules by name: `""` for the reference itself, else the first shift that has the rule.
    """
    found = {"": reference}
    for name, rule in shifts.items():
        if not any(same_rule(rule, known) for known in found.values()):
            found[name] = rule
    return found


def same_rule(first: AnswerRule, second: AnswerRule) -> bool:
    """Whether two rules give the same answers because they are alike: equal groups, and the same head or none."""
    groups = [None if rule.mask is None else rule.mask.groups for rule in (first, second)]
    return groups[0] == groups[1] and first.head is second.head
