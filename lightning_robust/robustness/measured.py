"""Standard models of one's own: what evaluations found, as models of a baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lightning_robust.errors import UserError
from lightning_robust.results.baseline_record import ModelAccuracies
from lightning_robust.results.evaluation_record import EvaluationRecord, ModelEvaluation
from lightning_robust.robustness.accuracy_table import REFERENCE

__all__ = ["FEWEST", "Measured", "measured_models"]

FEWEST = 12
"""Models that a baseline of one's own needs (METHODS 1)."""


@dataclass(frozen=True)
class Measured:
    """Models that were evaluated alike.

    Attributes:
        models: their accuracies.
        images: number of images by evaluation set, as `Baseline.fit` takes them.
        protocols: how accuracy was counted, by evaluation set.
        dataset: the data in words.
        split: ``"test"`` or ``"val"``.
    """

    models: tuple[ModelAccuracies, ...]
    images: Mapping[str, int]
    protocols: Mapping[str, str]
    dataset: str
    split: str = "test"


def measured_models(records: Mapping[str, EvaluationRecord], *, few: bool = False) -> Measured:
    """The models of evaluations, which have to be of the same data, counted alike.

    Args:
        records: evaluations by where they came from.
        few: whether fewer than `FEWEST` models are allowed.

    Raises:
        UserError: different data or protocols, no shift, no images, the same weights twice, a point of a Wise-FT path,
            or too few models; the message names which.
    """
    evaluated = [model for record in records.values() for model in record.models]
    if not evaluated:
        raise UserError("a baseline needs evaluations of standard models, got none")
    _check_data(records)
    _check_rows(evaluated)
    _check_models(evaluated)
    if len(evaluated) < FEWEST and not few:
        raise UserError(
            f"a baseline needs at least {FEWEST} standard models, got {len(evaluated)}: evaluate more, or allow it by "
            "--few, which the baseline then says"
        )
    if len(evaluated) >= FEWEST and few:
        raise UserError(f"--few has no effect with {len(evaluated)} models, {FEWEST} are enough: leave it out")
    first = evaluated[0]
    images = {REFERENCE: first.reference.images} | {row.set: row.images for row in first.shifts}
    images |= {f"matched/{row.set}": row.matched_images for row in first.shifts if row.matched_images}
    protocols = {REFERENCE: first.reference.protocol} | {row.set: row.protocol for row in first.shifts}
    record = next(iter(records.values()))
    models = _named_apart([_accuracies(model) for model in evaluated])
    return Measured(models, images, protocols, record.data.dataset, record.split)


def _accuracies(model: ModelEvaluation) -> ModelAccuracies:
    matched = {row.set: row.matched_accuracy for row in model.shifts}
    return ModelAccuracies(
        model.name,
        model.reference.accuracy,
        {row.set: row.accuracy for row in model.shifts},
        {name: accuracy for name, accuracy in matched.items() if accuracy is not None},
        checkpoint_hash=model.checkpoint_hash,
        source=model.origin,
    )


def _named_apart(models: list[ModelAccuracies]) -> tuple[ModelAccuracies, ...]:
    """Names that occur twice get the start of their weights' hash."""
    names = [model.name for model in models]
    return tuple(
        replace(model, name=f"{model.name} ({model.checkpoint_hash[:8]})") if names.count(model.name) > 1 else model
        for model in models
    )


def _check_data(records: Mapping[str, EvaluationRecord]) -> None:
    first_place, first = next(iter(records.items()))
    for place, record in records.items():
        for what, ours, theirs in (
            ("data", record.data.dataset, first.data.dataset),
            ("protocol", record.data.protocol, first.data.protocol),
            ("split", record.split, first.split),
        ):
            if ours != theirs:
                raise UserError(
                    f"a baseline needs the same {what} for all models: {place} has {ours!r}, {first_place} has "
                    f"{theirs!r}"
                )


def _check_rows(models: list[ModelEvaluation]) -> None:
    first = models[0]
    if not first.shifts:
        raise UserError(f"{first.name} was evaluated on the reference alone: a baseline needs shifts")
    for model in models:
        for one in model.rows:
            if not 0 <= one.correct <= one.images or one.images < 1:
                raise UserError(
                    f"an accuracy is right answers of at least one image, {model.name} has {one.correct} of "
                    f"{one.images} on {one.set}"
                )
        ours = {row.set: (row.protocol, row.images, row.matched_images) for row in model.rows}
        theirs = {row.set: (row.protocol, row.images, row.matched_images) for row in first.rows}
        if ours.keys() != theirs.keys():
            raise UserError(
                f"a baseline needs the same sets for all models: {model.name} has {', '.join(ours)}, {first.name} has "
                f"{', '.join(theirs)}"
            )
        for name, counted in ours.items():
            if counted != theirs[name]:
                raise UserError(
                    f"a baseline needs accuracies that are counted alike: on {name}, {model.name} has "
                    f"{counted[1]:,} images ({counted[0]}), {first.name} {theirs[name][1]:,} ({theirs[name][0]})"
                )


def _check_models(models: list[ModelEvaluation]) -> None:
    by_hash: dict[str, str] = {}
    for model in models:
        if model.alpha is not None:
            raise UserError(
                f"{model.name} is a point of a Wise-FT path (α = {model.alpha:g}): a baseline is of standard models, "
                "each trained by itself"
            )
        if model.checkpoint_hash in by_hash:
            raise UserError(
                f"{model.name} and {by_hash[model.checkpoint_hash]} have the same weights: each counts once"
            )
        by_hash[model.checkpoint_hash] = model.name
