"""The records of a study's steps as one table: a row for each model of which anything is measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lightning_robust.cli.study_context import StudyContext
from lightning_robust.cli.study_failures import TRAIN, failures_in
from lightning_robust.cli.study_figures import evaluation_figures, probe_figures, pruning_figures
from lightning_robust.cli.study_models import PlannedRow, StudyModel
from lightning_robust.cli.study_run import noted_steps, trainings_of
from lightning_robust.cli.study_seconds import training_seconds
from lightning_robust.cli.study_steps import DESCRIPTION, MeasuredStep, measured_by, row_training, slug, steps_of
from lightning_robust.errors import UserError
from lightning_robust.results import DataDescription, collect_provenance, read_evaluation, read_probe
from lightning_robust.results.prune_record import read_pruning
from lightning_robust.results.study_record import StudyFailure, StudyRecord, StudyRow

__all__ = ["Collected", "collect_study"]

_FEW: Final = 3
_READ: Final = {"evaluate": read_evaluation, "probe": read_probe, "prune": read_pruning}
#: How sentences begin that a record alone needs: its layers, and differences to models beside it.
_OF_A_RECORD: Final = ("layers: ", "differences: ")
_CONVENTIONS: Final = (
    "every figure of a row is of the same weights, told by their SHA-256; fractions lie in [0, 1]",
    "probe: figures are named the same for every architecture: h is what the head reads, last the last layer before "
    "it, largest and mean over all layers; of reference images alone, but for concepts",
    "prune: largest fraction of the head's directions that can go; of random controls the mean over the draws",
    "seconds: by the clock; where rows share a call, its share; of a training between the first and the last entry of "
    "each of its TensorBoard files",
)


@dataclass
class Collected:
    """What is there of a study.

    Attributes:
        record: The table; None where nothing is measured.
        missing: Steps that are not measured, failed ones too, in words: by the study's model.
        steps: How many measurements there are in all.
    """

    record: StudyRecord | None
    missing: dict[str, list[str]] = field(default_factory=dict)
    steps: int = 0

    def sentence(self) -> str:
        """What is not measured: every step where they are few, else how many of which models."""
        words = [step for steps in self.missing.values() for step in steps]
        if len(words) <= _FEW:
            return f"Not measured: {', '.join(words)}."
        names, more = ", ".join([*self.missing][:_FEW]), len(self.missing) - _FEW
        models = f"{names}{f' and {more} more models' if more > 0 else ''}"
        return f"Not measured: {len(words)} of {self.steps} steps, of {models}; --plan lists them by model."


@dataclass
class _Row:
    planned: PlannedRow
    hashes: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def collect_study(study: StudyContext, folder: Path) -> Collected:
    """Read everything that any process has measured.

    Args:
        study: The study.
        folder: Its folder.

    Raises:
        UserError: If a record is damaged.
    """
    config = study.config
    rows: list[StudyRow] = []
    records: dict[str, list[Any]] = {name: [] for name in config.measure}
    failures: list[StudyFailure] = []
    missing: dict[str, list[str]] = {}
    steps = 0
    for model in config.models:
        found = _rows(model, study, folder, records)
        rows += found
        failures += _failures(model, study, folder)
        whole, left = _missing(model, study, folder)
        steps += whole
        missing |= {model.name: left} if left else {}
    everything = [record for name in config.measure for record in records[name]]
    if not everything:
        return Collected(None, missing, steps)
    record = StudyRecord(
        name=config.name,
        provenance=collect_provenance(device=everything[0].provenance.device, threads=everything[0].provenance.threads),
        seeds=_seeds(study),
        data=_data(study, records),
        conventions=_conventions(everything),
        baseline=next((one.baseline for name in ("evaluate", "prune") for one in records.get(name, ())), None),
        shifts=study.shifts,
        rows=tuple(rows),
        failures=tuple(failures),
    )
    return Collected(record, missing, steps)


def _rows(model: StudyModel, study: StudyContext, folder: Path, records: Mapping[str, list[Any]]) -> list[StudyRow]:
    found = {row.name: _Row(row) for row in model.rows()}
    for step in steps_of(model, study, folder):
        if step.finished:
            record = _READ[step.measurement](step.results)
            records[step.measurement].append(record)
            _add(found[step.row.name], step, record)
    return [_row(one, model) for one in found.values() if one.hashes]


def _add(row: _Row, step: MeasuredStep, record: Any) -> None:
    if step.measurement == "evaluate":
        (measured,) = record.models
        row.figures |= evaluation_figures(measured)
    elif step.measurement == "probe":
        measured = record.model
        row.figures |= probe_figures(record)
    else:
        (measured,) = record.models
        row.figures |= pruning_figures(measured)
    row.hashes[step.measurement] = measured.checkpoint_hash
    row.seconds[step.measurement] = _seconds(step)


def _seconds(step: MeasuredStep) -> float:
    try:
        return float(json.loads((step.folder / DESCRIPTION).read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{step.folder / DESCRIPTION} does not say how long it took: remove {step.folder}, and it is measured again"
        ) from error


def _row(one: _Row, model: StudyModel) -> StudyRow:
    planned = one.planned
    run = row_training(model, planned)
    # a point inside a path costs no training of its own
    trained = None if run is None or planned.kind == "interpolated" else training_seconds(run.folder)
    return StudyRow(
        name=planned.name, model=planned.model, family=planned.family, kind=planned.kind, alpha=planned.alpha,
        labels=planned.labels, checkpoint_hash=next(iter(one.hashes.values())), figures=one.figures,
        seconds={**({} if trained is None else {TRAIN: trained}), **one.seconds},
    )  # fmt: skip


def _failures(model: StudyModel, study: StudyContext, folder: Path) -> list[StudyFailure]:
    """Those that are noted and still hold: what another process has done since is no failure."""
    done = {task.model for task in trainings_of(model, folder) if task.finished}
    measured = {(slug(step.row), step.measurement) for step in steps_of(model, study, folder) if step.finished}
    steps = [
        (name, step)
        for name, step in noted_steps(model, study)
        if (name not in done if step == TRAIN else (name, step) not in measured)
    ]
    return list(failures_in(folder, steps))


def _missing(model: StudyModel, study: StudyContext, folder: Path) -> tuple[int, list[str]]:
    """How many steps a model has, and in words those that are not measured."""
    measured = {(slug(step.row), step.measurement) for step in steps_of(model, study, folder) if step.finished}
    steps = [(row, name) for row in model.rows() for name in study.config.measure if measured_by(row, name)]
    return len(steps), [f"{name} of {row.name}" for row, name in steps if (slug(row), name) not in measured]


def _seeds(study: StudyContext) -> dict[str, int]:
    seeds = {"intervals, draws and random weights": study.config.seed}
    for model in study.config.models:
        for task in trainings_of(model, Path()):
            if task.training.seed is not None:
                seeds[f"training of {task.model}"] = task.training.seed
    return seeds


def _data(study: StudyContext, records: Mapping[str, list[Any]]) -> DataDescription:
    judged = [*records.get("evaluate", ()), *records.get("prune", ())]
    images: dict[str, int] = dict(judged[0].data.images) if judged else {}
    for record in records.get("probe", ())[:1]:
        images |= {f"probe: {name}": count for name, count in record.data.images.items()}
    return DataDescription(
        dataset=study.protocol["description"],
        protocol="top-1, each model's own preprocessing; each record names the protocol of each set",
        images=images,
    )


def _conventions(records: Sequence[Any]) -> tuple[str, ...]:
    """Those of the study, then each sentence of its records once."""
    said = [line for record in records for line in record.conventions if not line.startswith(_OF_A_RECORD)]
    return (*_CONVENTIONS, *dict.fromkeys(said))
