"""Every model whose accuracies were found, in one form, whichever command measured it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning_robust.report.html.sources import Sources
from lightning_robust.report.shorten import short_tails
from lightning_robust.results import AccuracyRow, EffectiveRobustness, RunRecord

__all__ = ["Judged", "best_group", "judged_groups"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A model on a reference and its shifts. Accuracies are fractions.

    Attributes:
        name: in words, long paths shortened; of a point of a path ``"α = 0.5"``.
        alpha: position on a path; None for a model by itself.
        reference: accuracy on the reference.
        shifts: accuracy by shift.
        intervals: 95 % interval of each accuracy by set, ``"reference"`` for the reference; sets whose number of
            images is not known are not there.
        robustness: effective robustness; None without a baseline.
        matched: reference accuracy on the classes that a shift covers, by shift, where it is known.
    """

    name: str
    alpha: float | None
    reference: float
    shifts: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    robustness: EffectiveRobustness | None
    matched: Mapping[str, float]

    @property
    def shifts_mean(self) -> float:
        """Unweighted mean over the shifts, NaN without any."""
        return sum(self.shifts.values()) / len(self.shifts) if self.shifts else math.nan


@dataclass(frozen=True, kw_only=True)
class JudgedGroup:
    """Models that one command judged on the same images.

    Attributes:
        words: where the figures come from, ``"Wise-FT path of finetune/001"``.
        folder: of the results.
        models: in order.
        path: whether they are one path of weights, α increasing.
        baseline: of effective robustness, in words; None without one.
        data: the images, in words.
        asked: whether its folder was named.
    """

    words: str
    folder: Path
    models: tuple[Judged, ...]
    path: bool
    baseline: str | None
    data: str
    asked: bool


def judged_groups(found: Sources) -> list[JudgedGroup]:
    """All of them, those of asked folders first; of runs and evaluations before those of other commands.

    Args:
        found: result files.
    """
    groups = [*_runs(found), *_evaluations(found), *_others(found)]
    return sorted(groups, key=lambda group: not group.asked)


def best_group(found: Sources) -> JudgedGroup | None:
    """The one that a verdict is drawn from: the first that has effective robustness, else the first."""
    groups = judged_groups(found)
    with_baseline = [g for g in groups if any(model.robustness is not None for model in g.models)]
    return next(iter([*with_baseline, *groups]), None)


def _runs(found: Sources) -> Iterator[JudgedGroup]:
    for run in found.runs:
        if run.record.wise_ft:
            yield JudgedGroup(
                words=f"Wise-FT path of {_name(run.folder)}",
                folder=run.folder,
                models=tuple(_alphas(run.record)),
                path=True,
                baseline=run.record.baseline,
                data=run.record.data.dataset,
                asked=run.asked,
            )


def _alphas(record: RunRecord) -> Iterator[Judged]:
    from lightning_robust.robustness import wilson_interval  # the room imports torch: only where it is needed

    for row in record.wise_ft:
        accuracies = {"reference": row.reference, **row.shifts}
        spans = {}
        for name, accuracy in accuracies.items():
            images = record.data.images.get(name, 0)
            if images > 0 and math.isfinite(accuracy):
                spans[name] = wilson_interval(round(accuracy * images), images)
        yield Judged(
            name=f"α = {row.alpha:g}",
            alpha=row.alpha,
            reference=row.reference,
            shifts=row.shifts,
            intervals=spans,
            robustness=row.effective_robustness,
            matched=row.matched_reference,
        )


def _evaluations(found: Sources) -> Iterator[JudgedGroup]:
    for one in found.evaluations:
        record = one.record
        alphas = [m.alpha for m in record.models]
        known = [alpha for alpha in alphas if alpha is not None]
        path = len(known) == len(alphas) > 1 and known == sorted(set(known))
        names = [f"α = {alpha:g}" for alpha in known] if path else short_tails([m.name for m in record.models])
        models = tuple(_rows(name, m.alpha, m.rows, m.robustness) for name, m in zip(names, record.models, strict=True))
        yield JudgedGroup(
            words=f"evaluation {_name(one.folder)}",
            folder=one.folder,
            models=models,
            path=path,
            baseline=record.baseline,
            data=f"{record.data.dataset}, {record.split} images",
            asked=one.asked,
        )


def _others(found: Sources) -> Iterator[JudgedGroup]:
    """Models as pruning, compression and ablation judged them before they changed them."""
    for pruned in found.prunings:
        names = short_tails([m.name for m in pruned.record.models])
        models = tuple(
            _rows(name, m.alpha, m.unpruned.rows, m.unpruned.robustness)
            for name, m in zip(names, pruned.record.models, strict=True)
        )
        yield _group("pruning", pruned.folder, models, pruned.record.baseline, pruned.record.data.dataset, pruned.asked)
    for small in found.compressions:
        record, dense = small.record, small.record.points[0]
        whole = _rows(record.model, record.alpha, dense.rows, dense.robustness)
        yield _group("compression", small.folder, (whole,), record.baseline, record.data.dataset, small.asked)
    for ablated in found.ablations:
        said = ablated.record
        model = _rows(said.model.name, None, said.untouched, said.robustness)
        yield _group("ablation", ablated.folder, (model,), said.baseline, said.data.dataset, ablated.asked)


def _group(
    command: str, folder: Path, models: tuple[Judged, ...], baseline: str | None, data: str, asked: bool
) -> JudgedGroup:
    return JudgedGroup(
        words=f"{command} {_name(folder)}, the model as it is",
        folder=folder,
        models=models,
        path=False,
        baseline=baseline,
        data=data,
        asked=asked,
    )


def _rows(
    name: str, alpha: float | None, rows: tuple[AccuracyRow, ...], robustness: EffectiveRobustness | None
) -> Judged:
    first, *shifts = rows
    return Judged(
        name=name,
        alpha=alpha,
        reference=first.accuracy,
        shifts={row.set: row.accuracy for row in shifts},
        intervals={"reference": (first.low, first.high), **{row.set: (row.low, row.high) for row in shifts}},
        robustness=robustness,
        matched={row.set: row.matched_accuracy for row in shifts if row.matched_accuracy is not None},
    )


def _name(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-2:])
