"""``results.json`` of ``evaluate``: accuracies of models on a reference and its shifts, with what to trust them by."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.choices import Interval
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = [
    "EVALUATION_SCHEMA",
    "AccuracyRow",
    "Difference",
    "EvaluationRecord",
    "ModelEvaluation",
    "read_evaluation",
    "write_evaluation",
]

EVALUATION_SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class AccuracyRow:
    """One model on one evaluation set. Accuracies are fractions in [0, 1].

    Attributes:
        set: name of the set.
        protocol: name of how accuracy is counted on it.
        correct: images that are classified right.
        images: images that were read.
        low, high: Wilson's 95 % interval of the accuracy.
        matched_correct: reference images of the classes that this set covers that are classified right when the
            logits are restricted as on this set; None for the reference itself.
        matched_images: how many such reference images there are; None for the reference itself.
        not_numbers: images on which the model's logits are no numbers, which counts as wrong; None where that was not
            counted (schema 1).

    Example:
        >>> AccuracyRow(set="art", protocol="top-1", correct=3, images=4, low=0.30, high=0.95).accuracy
        0.75
    """

    set: str
    protocol: str
    correct: int
    images: int
    low: float
    high: float
    matched_correct: int | None = None
    matched_images: int | None = None
    not_numbers: int | None = None

    @property
    def accuracy(self) -> float:
        """Share of right answers, a fraction."""
        return self.correct / self.images

    @property
    def matched_accuracy(self) -> float | None:
        """Reference accuracy on the classes that this set covers; None for the reference, or without such images."""
        if self.matched_correct is None or not self.matched_images:
            return None
        return self.matched_correct / self.matched_images


@dataclass(frozen=True, kw_only=True)
class ModelEvaluation:
    """One model on every evaluation set.

    Attributes:
        name: as it was asked for; for a point of a path the name of its file.
        origin: where its weights come from, in words.
        checkpoint_hash: SHA-256 of the weights.
        alpha: position on a Wise-FT path; None for a model by itself.
        rows: accuracies, the reference first.
        robustness: effective robustness on the shifts that the baseline has; None without a baseline.
        published: published accuracies of this model under the same protocols, by set; empty where none are known.
    """

    name: str
    origin: str
    checkpoint_hash: str
    alpha: float | None = None
    rows: tuple[AccuracyRow, ...]
    robustness: EffectiveRobustness | None = None
    published: Mapping[str, float] = field(default_factory=dict)

    @property
    def reference(self) -> AccuracyRow:
        """The reference."""
        return self.rows[0]

    @property
    def shifts(self) -> tuple[AccuracyRow, ...]:
        """The shifts, in order."""
        return self.rows[1:]

    @property
    def shifts_mean(self) -> float:
        """Unweighted mean of the accuracies on the shifts, NaN without shifts."""
        return sum(row.accuracy for row in self.shifts) / len(self.shifts) if self.shifts else float("nan")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What one model is better than another on the same images.

    Attributes:
        set: name of the set, or ``"shifts"`` for the mean over the shifts.
        model: name of the one.
        other: name of the other, which is subtracted.
        interval: the difference of their accuracies, by paired bootstrap over the images.
    """

    set: str
    model: str
    other: str
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """All that one evaluation found.

    Attributes:
        schema_version: version of this layout.
        kind: ``"evaluation"``.
        provenance: versions, machine, revision, time.
        seeds: every seed, by what it seeds.
        data: data set, protocol and image counts.
        conventions: sentences on how figures were taken; an image that could not be read has one.
        split: ``"test"`` or ``"val"``.
        baseline: the baseline of effective robustness in words; None without one.
        models: the models, in the order they were asked for.
        differences: each model against the first, per set and over the shifts.
    """

    schema_version: int = EVALUATION_SCHEMA
    kind: str = "evaluation"
    provenance: Provenance
    seeds: Mapping[str, int]
    data: DataDescription
    conventions: tuple[str, ...]
    split: str = "test"
    baseline: str | None = None
    models: tuple[ModelEvaluation, ...]
    differences: tuple[Difference, ...] = ()


def write_evaluation(record: EvaluationRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_evaluation(path: str | os.PathLike[str]) -> EvaluationRecord:
    """Read a ``results.json`` of ``evaluate``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(EvaluationRecord, path, EVALUATION_SCHEMA, "a results.json of evaluate", "evaluate")
