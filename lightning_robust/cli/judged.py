"""From right and wrong answers to accuracies with intervals and effective robustness, as `evaluate` counts them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.shifts import DistributionShift
from lightning_robust.results import AccuracyRow
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.robustness import Baseline, wilson_interval

__all__ = ["SetOutcome", "accuracy_row", "judge", "robustness_of"]

_REFERENCE = "reference"


@dataclass(frozen=True, eq=False)
class SetOutcome:
    """What one model answered on one set.

    Attributes:
        correct: Which of the images that were read are right, bool `(n,)`.
        matched_correct, matched_images: Of a shift: how many of the reference images of its classes are right under its
            rule, and how many there are; None for the reference itself.
        not_numbers: Images on which the logits are no numbers.
    """

    correct: NDArray[np.bool_]
    matched_correct: int | None = None
    matched_images: int | None = None
    not_numbers: int = 0


def judge(
    outcomes: Mapping[str, SetOutcome],
    sets: Sequence[DistributionShift],
    baseline: Baseline | None,
    *,
    seed: int = 0,
    replicates: int | None = None,
) -> tuple[tuple[AccuracyRow, ...], EffectiveRobustness | None]:
    """Accuracies of one model, and its effective robustness.

    Args:
        outcomes: By set.
        sets: The sets, the reference first.
        baseline: Of effective robustness; None leaves it out.
        seed: Of its intervals.
        replicates: Of its bootstrap; 0 leaves intervals out, None takes the usual number.

    Returns:
        A row for each set, and effective robustness over the shifts that the baseline has; None without such.

    Raises:
        KeyError: If a set has no outcome.
        ValueError: If no image of a set was read.
    """
    rows = []
    for one in sets:
        found = outcomes[one.name]
        if len(found.correct) == 0:
            raise ValueError(f"no image of {one.name} could be read, so it has no accuracy.")
        matched = (found.matched_correct, found.matched_images)
        right = int(found.correct.sum())
        rows.append(
            accuracy_row(
                one.name, one.protocol, right, len(found.correct), matched=matched, not_numbers=found.not_numbers
            )
        )
    return tuple(rows), None if baseline is None else robustness_of(rows, baseline, seed, replicates)


def accuracy_row(
    name: str,
    protocol: str,
    correct: int,
    images: int,
    *,
    matched: tuple[int | None, int | None] = (None, None),
    not_numbers: int | None = None,
) -> AccuracyRow:
    """One model on one set, with Wilson's interval.

    Args:
        name: Of the set.
        protocol: How accuracy is counted on it.
        correct: Right answers.
        images: Images read.
        matched: Right answers and images of the reference under the set's rule.
        not_numbers: Images on which the logits are no numbers.
    """
    low, high = wilson_interval(correct, images)
    return AccuracyRow(
        set=name,
        protocol=protocol,
        correct=correct,
        images=images,
        low=low,
        high=high,
        matched_correct=matched[0],
        matched_images=matched[1],
        not_numbers=not_numbers,
    )


def robustness_of(
    rows: Sequence[AccuracyRow], baseline: Baseline, seed: int, replicates: int | None = None
) -> EffectiveRobustness | None:
    """Over the shifts that the baseline has a line for; the reference goes by one name there.

    Args:
        rows: By set, the reference first.
        baseline: The standard models' line.
        seed: Of the intervals.
        replicates: Of the bootstrap; 0 leaves intervals out, None takes the usual number.

    Returns:
        None where the baseline has a line for none of the shifts.
    """
    shifts = [row for row in rows[1:] if row.set in baseline.shifts]
    if not shifts:
        return None
    reference, n = {_REFERENCE: rows[0].accuracy}, {_REFERENCE: rows[0].images}
    for row in shifts:
        n[row.set] = row.images
        if row.matched_accuracy is not None and row.matched_images:
            reference[row.set], n[f"matched/{row.set}"] = row.matched_accuracy, row.matched_images
    options = {} if replicates is None else {"replicates": replicates}
    return baseline.effective_robustness(reference, {row.set: row.accuracy for row in shifts}, n, seed=seed, **options)
