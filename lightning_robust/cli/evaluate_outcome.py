"""From answers to the record of an evaluation: accuracies with intervals, differences, effective robustness."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_robust.cli.evaluate_answers import ModelAnswers, SetAnswers, unpack
from lightning_robust.cli.judged import accuracy_row, robustness_of
from lightning_robust.data.shifts import DistributionShift
from lightning_robust.results import AccuracyRow, Difference, ModelEvaluation
from lightning_robust.robustness import (
    Baseline,
    mean_shift_difference,
    paired_bootstrap,
)

__all__ = ["differences", "evaluation_of", "table_rows", "without_numbers"]

SHIFTS = "shifts"


def evaluation_of(
    answers: ModelAnswers,
    sets: Sequence[DistributionShift],
    baseline: Baseline | None = None,
    published: Mapping[str, float] | None = None,
    seed: int = 0,
) -> ModelEvaluation:
    """One model's accuracies, and what they mean.

    Args:
        answers: What it answered.
        sets: The sets, the reference first.
        baseline: For effective robustness; None leaves it out.
        published: Published accuracies by set.
        seed: Of the intervals of effective robustness.
    """
    rows = tuple(_row(one, record.protocol) for one, record in zip(answers.sets, sets, strict=True))
    return ModelEvaluation(
        name=answers.name,
        origin=answers.origin,
        checkpoint_hash=answers.checkpoint_hash,
        alpha=answers.alpha,
        rows=rows,
        robustness=None if baseline is None else robustness_of(rows, baseline, seed),
        published=dict(published or {}),
    )


def _row(answers: SetAnswers, protocol: str) -> AccuracyRow:
    return accuracy_row(
        answers.set,
        protocol,
        int(unpack(answers.correct, answers.images).sum()),
        int(unpack(answers.read, answers.images).sum()),
        matched=(answers.matched_correct, answers.matched_images),
        not_numbers=answers.not_numbers,
    )


def without_numbers(model: ModelEvaluation) -> list[str]:
    """A sentence for each set on which some of a model's logits are no numbers.

    Args:
        model: The evaluation.
    """
    return [
        f"{model.name}: the logits of {row.not_numbers:,} images of {row.set} are no numbers; they count as wrong"
        for row in model.rows
        if row.not_numbers
    ]


def differences(models: Sequence[ModelAnswers], seed: int) -> tuple[Difference, ...]:
    """Each model against the first, on the images that both could read.

    Args:
        models: What each answered.
        seed: Of the bootstrap.

    Returns:
        For each other model one difference per set, and one of the means over the shifts.
    """
    found = []
    for other in models[1:]:
        pairs = {here.set: _pair(here, there) for here, there in zip(other.sets, models[0].sets, strict=True)}
        for name, (here, there) in pairs.items():
            interval = paired_bootstrap(here, there, seed=seed)
            found.append(Difference(set=name, model=other.name, other=models[0].name, interval=interval))
        shifts = list(pairs)[1:]
        if shifts:
            interval = mean_shift_difference(
                {name: pairs[name][0] for name in shifts}, {name: pairs[name][1] for name in shifts}, seed=seed
            )
            found.append(Difference(set=SHIFTS, model=other.name, other=models[0].name, interval=interval))
    return tuple(found)


def _pair(first: SetAnswers, second: SetAnswers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    both = unpack(first.read, first.images) & unpack(second.read, second.images)
    return unpack(first.correct, first.images)[both], unpack(second.correct, second.images)[both]


def table_rows(models: Sequence[ModelEvaluation]) -> list[dict[str, Any]]:
    """A row for each model and set, for a spreadsheet; accuracies are fractions.

    Args:
        models: The models.
    """
    rows: list[dict[str, Any]] = []
    for model in models:
        for row in model.rows:
            er = None if model.robustness is None else model.robustness.shifts.get(row.set)
            rows.append(
                {
                    "model": model.name,
                    "alpha": model.alpha,
                    "set": row.set,
                    "protocol": row.protocol,
                    "correct": row.correct,
                    "images": row.images,
                    "accuracy": row.accuracy,
                    "low": row.low,
                    "high": row.high,
                    "matched_correct": row.matched_correct,
                    "matched_images": row.matched_images,
                    "matched_accuracy": row.matched_accuracy,
                    "not_numbers": row.not_numbers,
                    "published": model.published.get(row.set),
                    **_er_cells(er),
                }
            )
        if model.robustness is not None:
            rows.append({"model": model.name, "alpha": model.alpha, "set": "mean", **_er_cells(model.robustness.mean)})
    return rows


def _er_cells(er: Any) -> dict[str, Any]:
    line, standard = (None, None) if er is None else (er.interval, er.prediction)
    return {
        "expected": None if er is None else er.expected,
        "er": None if er is None else er.estimate,
        "er_low": None if line is None else line.low,
        "er_high": None if line is None else line.high,
        "er_standard_low": None if standard is None else standard.low,
        "er_standard_high": None if standard is None else standard.high,
        "extrapolated": None if er is None else er.extrapolated,
    }
