"""Predictions restricted to the classes that a shift covers, several reference classes for one label included."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NO_CLASS = -1
"""Prediction of a row whose logits are no numbers: right for no target."""


def largest_class(logits: Tensor) -> Tensor:
    """The class of the largest logit, `(n,)`; `NO_CLASS` where a logit is NaN, or none is above −∞.

    Args:
        logits: `(n, C)`; −∞ stands for classes that a mask leaves out.

    Example:
        >>> largest_class(torch.tensor([[0.0, 2.0], [torch.nan, 2.0], [-torch.inf, 0.0]]))
        tensor([ 1, -1,  1])
    """
    values, classes = logits.max(dim=1)  # the largest of a row with NaN is NaN
    return classes.masked_fill(values.isnan() | (values == -torch.inf), NO_CLASS)


class ClassMask:
    """Restricts logits over the reference's C classes to a shift's labels.

    The score of a label is the largest logit of its group of classes; every other class gets −∞. Everything stays in
    the reference's classes: a label is its group's first class, so that targets, predictions and metrics over C
    classes work as they are. (ObjectNet: 113 objects, 125 ImageNet classes; ImageNet-R and -A: 200 groups of one.)

    Args:
        groups: For each label the reference classes that count as right, the canonical one first.

    Raises:
        ValueError: If there is no group, one is empty, or a class stands in two groups.

    Example:
        >>> mask = ClassMask([(2, 0), (1,)])
        >>> mask(torch.tensor([[5.0, 1.0, 2.0, 9.0]]))
        tensor([[-inf, 1., 5., -inf]])
        >>> mask.canonical(torch.tensor([0, 1, 2, 3]))
        tensor([ 2,  1,  2, -1])
    """

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        flat = [index for group in groups for index in group]
        if not groups or not all(groups):
            raise ValueError(f"each label needs at least one class, got {len(groups)} groups")
        if len(set(flat)) < len(flat) or min(flat) < 0:
            twice = next(index for index in flat if flat.count(index) > 1 or index < 0)
            raise ValueError(f"each class belongs to one label, class {twice} does not")
        self.groups = tuple(tuple(group) for group in groups)
        self._members = torch.tensor(flat)
        self._first = torch.tensor([group[0] for group in self.groups for _ in group])

    def __call__(self, logits: Tensor) -> Tensor:
        """Restrict.

        Args:
            logits: Over the reference's classes, `(n, C)`.

        Returns:
            `(n, C)`: the largest logit of each group at its first class, −∞ elsewhere.

        Raises:
            ValueError: If there are fewer classes than the groups name.
        """
        needed = max(index for group in self.groups for index in group) + 1
        if logits.ndim != 2 or logits.shape[1] < needed:
            raise ValueError(f"the mask names class {needed - 1}: logits are (n, {needed} or more), got {logits.shape}")
        members, first = self._members.to(logits.device), self._first.to(logits.device)
        restricted = torch.full_like(logits, -torch.inf)
        return restricted.scatter_reduce(1, first.expand(len(logits), -1), logits[:, members], "amax")

    def canonical(self, targets: Tensor) -> Tensor:
        """Each class as the first of its group, −1 where no group has it.

        Args:
            targets: Reference classes, `(n,)`.
        """
        size = int(max(self._members.max().item(), targets.max().item() if len(targets) else 0)) + 1
        table = torch.full((size,), -1, dtype=targets.dtype, device=targets.device)
        table[self._members.to(targets.device)] = self._first.to(targets.device, targets.dtype)
        return table[targets]
