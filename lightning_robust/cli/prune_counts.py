"""How many images a head answers right, and as the whole head does, at every number of directions that it keeps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_robust.cli.judged import accuracy_row, robustness_of
from lightning_robust.cli.opened_evaluation import Opened
from lightning_robust.cli.prune_parts import HeadParts, Part
from lightning_robust.cli.prune_threads import threads_of
from lightning_robust.models.class_mask import NO_CLASS
from lightning_robust.models.evaluate_rules import AnswerRule
from lightning_robust.results import AccuracyRow
from lightning_robust.results.effective_robustness import EffectiveRobustness

__all__ = ["Answers", "Counts", "Predictions", "count_answers", "judged_at", "robustness_at", "whole_counts"]

Predictions = Callable[[Part, AnswerRule], Tensor]
"""From a set and a rule to predicted classes `(K, n)`: a row for each number kept, from all down to none."""

_PIECE: Final = 2048
"""Images that are answered at once: the classes of every k are 8 bytes each, right or wrong is one."""


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
    found = dict[str, dict[str, _Share]]()
    for part in head.parts:
        shares = list[dict[str, _Share]]()
        with threads_of(part.h.device) as apply:
            pieces = part.split(_PIECE)
            for piece, share in zip(
                pieces, apply(lambda piece: _shares(piece, predictions, own_whole), pieces), strict=True
            ):
                shares.append(share)
                if seen is not None:
                    seen(len(piece.h))
        found[part.set] = {rule: _together([share[rule] for share in shares]) for rule in part.rules}
    own, reference = {name: rules[""] for name, rules in found.items()}, found[head.parts[0].set]
    counts = Counts(
        images={name: share.right.shape[1] for name, share in own.items()},
        correct={name: share.right.sum(axis=1) for name, share in own.items()},
        agreement={name: share.agrees.sum(axis=1) for name, share in own.items()},
        not_numbers={name: share.not_numbers for name, share in own.items()},
        matched={shift: reference[rule].right.sum(axis=1) for shift, rule in head.matched.items()},
        matched_images={shift: reference[rule].covered for shift, rule in head.matched.items()},
    )
    return counts, Answers({name: share.right for name, share in own.items()}, reference[""].agrees)


@dataclass(frozen=True, eq=False)
class _Share:
    """Answers of K heads to some images under one rule; `covered`: how many of these count."""

    right: NDArray[np.bool_]
    agrees: NDArray[np.bool_]
    not_numbers: NDArray[np.int64]
    covered: int


def _shares(part: Part, predictions: Predictions, own_whole: bool) -> dict[str, _Share]:
    found = {}
    for name, rule in part.rules.items():
        predicted = predictions(part, rule)
        right, covered = rule.correct(predicted, part.targets)
        found[name] = _Share(
            right.cpu().numpy(),
            (predicted == (predicted[:1] if own_whole else part.whole[name])).cpu().numpy(),
            (predicted == NO_CLASS).sum(dim=1).cpu().numpy(),
            int(covered.sum()),
        )
    return found


def _together(shares: Sequence[_Share]) -> _Share:
    return _Share(
        np.concatenate([share.right for share in shares], axis=1),
        np.concatenate([share.agrees for share in shares], axis=1),
        np.sum([share.not_numbers for share in shares], axis=0),
        sum(share.covered for share in shares),
    )


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
