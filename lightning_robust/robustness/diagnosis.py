"""Robustness predicted from reference images alone: a study's table made into a calibration, and models by it."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from lightning_robust.results.diagnosis_record import CalibrationRecord, PredictorSkill, TrainingPoint
from lightning_robust.results.diagnosis_sentence import extrapolated_sentence
from lightning_robust.results.provenance import Provenance, collect_provenance
from lightning_robust.results.study_record import StudyRecord
from lightning_robust.robustness.diagnosis_fit import TableFit, fit_table, skill_of
from lightning_robust.robustness.diagnosis_left_out import FEWEST_FAMILIES
from lightning_robust.robustness.diagnosis_predictors import TARGET
from lightning_robust.robustness.diagnosis_table import DiagnosisTable, diagnosis_table
from lightning_robust.robustness.diagnosis_verdict import calibration_limits, calibration_usable

__all__ = ["fit_calibration", "refitted", "without_family"]


def fit_calibration(
    study: StudyRecord,
    figures: Sequence[str] | None = None,
    *,
    level: float = 0.9,
    seed: int = 0,
    provenance: Provenance | None = None,
) -> CalibrationRecord:
    """Learn from a study how far effective robustness follows from figures of reference images alone (METHODS 7).

    A ridge regression on standardised figures, families weighing the same, its penalty chosen on families held out.
    It is judged without each family in turn, everything fitted anew, beside rivals of one figure and each of its
    figures alone. Intervals are those of the jackknife+ over families; their coverage is counted on families that
    neither the regression nor the interval has seen.

    Args:
        study: the table.
        figures: tags of the predictors; None for `PREDICTORS`, as far as the rows have them.
        level: nominal coverage of the prediction intervals, in [0.5, 1).
        seed: of the bootstraps over families, by which correlations get their intervals.
        provenance: of the calibration; None looks around.

    Returns:
        The record, which holds every point of the table and can be fitted again from its file.

    Raises:
        ValueError: fewer than four families, a level outside [0.5, 1), no figure to predict from, one that reference
            images alone do not give or that no row has, no row of measured robustness, or two rows of one name.
    """
    if not 0.5 <= level < 1:
        raise ValueError(f"the level of a prediction interval is at least 0.5 and below 1, got {level}")
    table = diagnosis_table(study.rows, figures)
    empty = CalibrationRecord(
        name=study.name,
        provenance=provenance or collect_provenance(),
        seeds={"bootstrap": seed},
        data=study.data,
        conventions=_conventions(table, level),
        baseline=study.baseline,
        target=TARGET,
        figures=table.figures,
        penalty=math.nan,
        level=level,
        points=(),
        left_out=table.left_out,
        skills=(),
        usable=False,
        reasons=(),
        rivals=table.rivals,
    )
    return refitted(empty, table.points)


def without_family(calibration: CalibrationRecord, family: str) -> CalibrationRecord:
    """The calibration as it would be had the study not had a family; for a model that descends from it.

    Args:
        calibration: the whole.
        family: name of the family.

    Raises:
        ValueError: there is no such family, or fewer than four others.
    """
    rest = [point for point in calibration.points if point.family != family]
    if len(rest) == len(calibration.points):
        names = ", ".join(sorted({point.family for point in rest}))
        raise ValueError(f"the calibration {calibration.name} has no family {family!r}, but {names}")
    return refitted(calibration, rest)


def refitted(calibration: CalibrationRecord, points: Sequence[TrainingPoint]) -> CalibrationRecord:
    """The same calibration on other points.

    Args:
        calibration: its settings.
        points: rows with their figures and targets.

    Raises:
        ValueError: fewer than four families.
    """
    ordered = sorted(points, key=lambda point: (point.family, point.name))
    fit = fit_table(ordered, calibration.figures)
    skills = _skills(fit, calibration)
    usable, against = calibration_usable(skills[0])
    limits = calibration_limits(skills[0], [skill for skill in skills if skill.role == "rival"])
    outside = extrapolated_sentence(fit.points)
    ends = fit.left_out.intervals(calibration.level)
    margins = _margins(fit.points)
    predicted = zip(fit.points, fit.left_out.predictions.tolist(), *(end.tolist() for end in ends), strict=True)
    return dataclasses.replace(
        calibration,
        penalty=fit.left_out.penalty,
        points=tuple(
            dataclasses.replace(point, predicted=value, low=low, high=high) for point, value, low, high in predicted
        ),
        skills=skills,
        usable=usable,
        reasons=(*against, *limits, *([outside] if outside else [])),
        # points of an earlier version have none, and what the whole table had is kept
        margin=statistics.median(margins) if margins else calibration.margin,
    )


def _skills(fit: TableFit, calibration: CalibrationRecord) -> tuple[PredictorSkill, ...]:
    level, seed = calibration.level, calibration.seeds["bootstrap"]
    found = [skill_of(fit, "diagnosis", "diagnosis", level, seed)]
    roles = dict.fromkeys(calibration.rivals, "rival") | {
        tag: "single figure" for tag in calibration.figures if tag not in calibration.rivals
    }
    for tag, role in roles.items():
        if _judgeable(fit.points, tag):
            found.append(skill_of(fit_table(fit.points, (tag,)), tag, role, level, seed))
    return tuple(found)


def _judgeable(points: Sequence[TrainingPoint], tag: str) -> bool:
    """Whether enough families have the figure."""
    return len({p.family for p in points if math.isfinite(p.figures.get(tag, math.nan))}) >= FEWEST_FAMILIES


def _margins(points: Sequence[TrainingPoint]) -> list[float]:
    return [point.margin for point in points if point.margin is not None]


def _conventions(table: DiagnosisTable, level: float) -> tuple[str, ...]:
    margins = len(_margins(table.points))
    extrapolated = sum(point.extrapolated for point in table.points)
    return (
        "Judged on families that the fit has not seen; a family is all that descends from one pretraining run.",
        "Every family weighs the same in the fit, whatever its number of rows.",
        f"Intervals: jackknife+ over families, {100 * level:.0f} %.",
        "Correlations: Spearman's of held-out predictions and measurements, 2,000 bootstrap draws of families.",
        "Below 0 they mean no skill, not an inverse relation: the mean of the others is low for what is high.",
        "Margin: "
        + (
            f"median over {margins} rows of effective robustness less the low end of its prediction interval."
            if margins
            else "0, as the study has no prediction intervals of effective robustness."
        ),
        f"{extrapolated} of {len(table.points)} rows lie outside the accuracies of the baseline's models.",
        *table.notes,
    )
