"""How many images a head answers right, and as the whole head does, at every number of directions that it keeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_robust.cli.judged import accuracy_row, robustness_of
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.cli.prune_parts import HeadParts, Part
from lightning_robust.models.class_mask import NO_CLASS
from lightning_robust.models.evaluate_rules import AnswerRule
from lightning_robust.results import AccuracyRow
from lightning_robust.results.effective_robustness import EffectiveRobustness

__all__ = ["Answers", "Counts", "Predictions", "count_answers", "judged_at", "robustness_at", "whole_counts"]

Predictions = Callable[[Part, AnswerRule], Tensor]
"""From a set and a rule to predicted classes `(K, n)`: a row for each number kept, from all down to none."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of K heads image by image, for the bootstrap.

    Attributes:
        right: By set, which images each head answers right, bool `(K, n)`.
        agrees: On the reference, which it answers as the whole head does, bool `(K, n)`.
    """

    right: Mapping[str, NDArray[np.bool_]]
    agrees: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Counts:
    """Answers of K heads, counted.

    Attributes:
        images: By set, how many were read.
        correct: By set, how many images each head answers right, `(K,)`.
        agreement: By set, how many images each head answers as the whole head does, `(K,)`.
        not_numbers: By set, on how many its logits are no numbers, `(K,)`.
        matched: By shift, how many reference images of its classes are right under its rule, `(K,)`.
        matched_images: How many such images there are.
    """

    images: Mapping[str, int]
    correct: Mapping[str, NDArray[np.int64]]
    agreement: Mapping[str, NDArray[np.int64]]
    not_numbers: Mapping[str, NDArray[np.int64]]
    matched: Mapping[str, NDArray[np.int64]]
    matched_images: Mapping[str, int]


def count_answers(
    head: HeadParts, predictions: Predictions, *, own_whole: bool = False, seen: Callable[[int], None] | None = None
) -> tuple[Counts, Answers]:
    """Let K heads answer every set.

    Args:
        head: The sets.
        predictions: Of the K heads.
        own_whole: Agreement is with the first of the K heads, not with the model's head.
        seen: Called with numbers of images, for progress.
    """
    right, agreement, not_numbers = {}, {}, {}
    by_rule: dict[str, tuple[NDArray[np.int64], int]] = {}
    agrees = np.zeros((0, 0), dtype=bool)
    for index, part in enumerate(head.parts):
        name = part.set
        for known, rule in part.rules.items():
            predicted = predictions(part, rule)
            correct, covered = rule.correct(predicted, part.targets)
            if index == 0:
                by_rule[known] = (correct.sum(dim=1).cpu().numpy(), int(covered.sum()))
            if known == "":
                same = (predicted == (predicted[:1] if own_whole else part.whole[""])).cpu().numpy()
                right[name], agreement[name] = correct.cpu().numpy(), same.sum(axis=1)
                not_numbers[name] = (predicted == NO_CLASS).sum(dim=1).cpu().numpy()
                agrees = same if index == 0 else agrees
        if seen is not None:
            seen(len(part.read))
    counts = Counts(
        images={name: flags.shape[1] for name, flags in right.items()},
        correct={name: flags.sum(axis=1) for name, flags in right.items()},
        agreement=agreement,
        not_numbers=not_numbers,
        matched={shift: by_rule[rule][0] for shift, rule in head.matched.items()},
        matched_images={shift: by_rule[rule][1] for shift, rule in head.matched.items()},
    )
    return counts, Answers(right, agrees)


def whole_counts(head: HeadParts) -> tuple[Counts, Answers]:
    """The answers of the whole head alone, K = 1.

    Args:
        head: The sets.
    """

    def whole(part: Part, rule: AnswerRule) -> Tensor:
        return next(part.whole[name] for name, known in part.rules.items() if known is rule)[None]

    return count_answers(head, whole)


def judged_at(counts: Counts, row: int, opened: Opened) -> tuple[AccuracyRow, ...]:
    """Accuracies of one of the K heads with intervals, the reference first.

    Args:
        counts: The answers.
        row: Which head.
        opened: The sets.
    """
    return tuple(
        accuracy_row(
            one.name,
            one.protocol,
            int(counts.correct[one.name][row]),
            counts.images[one.name],
            matched=(
                (int(counts.matched[one.name][row]), counts.matched_images[one.name])
                if one.name in counts.matched
                else (None, None)
            ),
            not_numbers=int(counts.not_numbers[one.name][row]),
        )
        for one in opened.sets
    )


def robustness_at(
    counts: Counts, row: int, opened: Opened, replicates: int | None = None
) -> EffectiveRobustness | None:
    """Effective robustness of one of the K heads; None without a baseline.

    Args:
        counts: The answers.
        row: Which head.
        opened: The sets, baseline and seed.
        replicates: Of the bootstrap; 0 leaves intervals out, None takes the usual number.
    """
    if opened.baseline is None:
        return None
    return robustness_of(judged_at(counts, row, opened), opened.baseline, opened.args.seed, replicates)
