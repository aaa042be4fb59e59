"""The judged Wise-FT path: accuracies for each α, the choice of α, and intervals of what it wins or loses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightning_robust.errors import UserError
from lightning_robust.results import AlphaChoice, AlphaRow, Interval
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.robustness import FIXED_ALPHA, choose_alpha, mean_shift_difference, paired_bootstrap

Correct = NDArray[np.bool_]

#: The path of the paper: 0, 0.1 … 1.
ALPHAS = tuple(k / 10 for k in range(11))


@dataclass(frozen=True)
class AlphaPath:
    """What a Wise-FT path is worth.

    Attributes:
        rows: One for each α, increasing.
        choice: α = 0.5 and α*, chosen on validation images of the reference.
        intervals: Differences in accuracy of every α against both ends, with paired-bootstrap intervals, on the
            reference and on the mean of the shifts: `"reference: α=0.5 − α=1"` and so on. An α picked because it is
            best on the shifts is picked after looking: its interval does not know that.
        images: Test images by loader, and validation images of the reference.
        unreadable: What was left out of them, a sentence for each image; only loaders that left something out.
    """

    rows: tuple[AlphaRow, ...]
    choice: AlphaChoice
    intervals: dict[str, Interval]
    images: dict[str, int]
    unreadable: dict[str, tuple[str, ...]] = field(default_factory=dict)


def normalised_alphas(alphas: Sequence[float]) -> tuple[float, ...]:
    """The α's in order, with 0, 0.5 and 1 among them.

    Raises:
        UserError: If one is outside [0, 1].
    """
    wrong = [alpha for alpha in alphas if not 0.0 <= alpha <= 1.0]
    if wrong:
        raise UserError(f"each α lies in [0, 1], where 0 is before and 1 after finetuning; got {wrong}")
    return tuple(sorted({float(alpha) for alpha in alphas} | {0.0, FIXED_ALPHA, 1.0}))


def judge_path(
    alphas: Sequence[float],
    validation: Correct,
    tests: Mapping[str, Correct],
    signatures: Sequence[Mapping[str, float]],
    robustness: Sequence[EffectiveRobustness] = (),
    matched: Mapping[str, Correct] | None = None,
    *,
    replicates: int,
    seed: int,
) -> AlphaPath:
    """Put accuracies, choice and intervals together.

    Args:
        alphas: The A positions, increasing.
        validation: Right or wrong on the reference's validation images, `(A, n)`.
        tests: The same on test images by loader, the reference first.
        signatures: Figures by tag for each α.
        robustness: Effective robustness of each α; empty without a baseline.
        matched: Right or wrong on the reference's test images of a shift's classes, by shift, where they are asked for.
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.
    """
    reference, *shifts = tests
    rows = []
    for k, alpha in enumerate(alphas):
        accuracies = {name: float(tests[name][k].mean()) for name in shifts}
        rows.append(
            AlphaRow(
                alpha=alpha,
                val_reference=float(validation[k].mean()),
                reference=float(tests[reference][k].mean()),
                shifts=accuracies,
                shifts_mean=float(np.mean(list(accuracies.values()))) if shifts else float("nan"),
                signatures=dict(signatures[k]),
                effective_robustness=robustness[k] if robustness else None,
                matched_reference={name: float(right[k].mean()) for name, right in (matched or {}).items()},
            )
        )
    choice = choose_alpha(validation, alphas, replicates=replicates, seed=seed)
    intervals = {}
    for here, there in [(a, b) for a in alphas for b in (0.0, 1.0) if a != b]:
        a, b = alphas.index(here), alphas.index(there)
        name = f"α={here:g} − α={there:g}"
        intervals[f"reference: {name}"] = paired_bootstrap(
            tests[reference][a], tests[reference][b], replicates=replicates, seed=seed
        )
        if shifts:
            intervals[f"mean of the shifts: {name}"] = mean_shift_difference(
                {s: tests[s][a] for s in shifts}, {s: tests[s][b] for s in shifts}, replicates=replicates, seed=seed
            )
    images = {
        f"{reference} (validation)": validation.shape[1],
        **{name: found.shape[1] for name, found in tests.items()},
    }
    return AlphaPath(tuple(rows), choice, intervals, images)
