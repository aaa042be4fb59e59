"""The figures of a study's row from its records, under the names that every architecture shares."""

import math
from collections.abc import Iterator

from lightning_robust.results.choices import Interval
from lightning_robust.results.evaluation_record import ModelEvaluation
from lightning_robust.results.probe_record import ProbeRecord
from lightning_robust.results.prune_record import PruneCurve, PrunedModel
from lightning_robust.robustness.reference_figures import reference_figures

__all__ = ["evaluation_figures", "probe_figures", "pruning_figures"]

_PRUNED = ("reference", "shifts", "agreement")
_CONTROLS = {"random": ("random", "raw"), "random_head": ("random_head", "raw"), "outliers": ("outlier_features", "")}


def evaluation_figures(model: ModelEvaluation) -> dict[str, float]:
    """Accuracies and effective robustness, fractions.

    Args:
        model: As `evaluate` found it.
    """
    found = {f"accuracy/{row.set}": row.accuracy for row in model.rows}
    if model.shifts:
        found["accuracy/shifts"] = model.shifts_mean
    robustness = model.robustness
    if robustness is None:
        return found
    found |= {f"er/{name}": shift.estimate for name, shift in robustness.shifts.items()}
    mean = robustness.mean
    found |= {"er/mean": mean.estimate, "er/extrapolated": float(mean.extrapolated)}
    for prefix, interval in (("", mean.interval), ("prediction_", mean.prediction)):
        if interval is not None:
            found |= {f"er/mean/{prefix}low": interval.low, f"er/mean/{prefix}high": interval.high}
    return found


def probe_figures(record: ProbeRecord) -> dict[str, float]:
    """What a probe says, by canonical tag.

    Args:
        record: The probe; its last layer is the representation.
    """
    layers = [layer.name for layer in record.layers]
    return reference_figures(record.scalars, layers, layers[-1])


def pruning_figures(model: PrunedModel) -> dict[str, float]:
    """Largest fractions of directions that can go, with their intervals, and the same of controls.

    Of controls that draw, the mean over the draws.

    Args:
        model: As `prune` found it.
    """
    found: dict[str, float] = {}
    for prefix, form in (("prune", "raw"), ("prune/centred", "centred")):
        curve = model.curve("importance", form)
        for name, interval in _first(curve):
            tag = f"{prefix}/{name}/fraction"
            found |= {tag: interval.estimate, f"{tag}/low": interval.low, f"{tag}/high": interval.high}
    for name, (order, form) in _CONTROLS.items():
        found |= {f"prune/{name}/{of}/fraction": value for of, value in _means(model.curve(order, form))}
    return found


def _first(curve: PruneCurve | None) -> Iterator[tuple[str, Interval]]:
    for name in _PRUNED if curve is not None else ():
        if curve is not None and curve.headlines.get(name):
            yield name, curve.headlines[name][0].fraction


def _means(curve: PruneCurve | None) -> Iterator[tuple[str, float]]:
    for name in _PRUNED if curve is not None else ():
        if curve is not None and curve.headlines.get(name):
            draws = [headline.fraction.estimate for headline in curve.headlines[name]]
            yield name, math.fsum(draws) / len(draws)
