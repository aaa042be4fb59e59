"""Whether a calibration that was read from a file is whole: files are edited by hand, cut short and mended."""

import math
from collections.abc import Iterator
from itertools import chain
from typing import Final

from lightning_robust.results.diagnosis_record import CalibrationRecord, TrainingPoint
from lightning_robust.robustness.diagnosis_predictors import TARGET, on_scale
from lightning_robust.robustness.reference_figures import REFERENCE_ONLY

__all__ = ["calibration_fault"]

_KINDS: Final = ("zero-shot", "finetuned", "interpolated", "supervised")
_BOOTSTRAP: Final = "bootstrap"


def calibration_fault(calibration: CalibrationRecord) -> str | None:
    """What of a calibration cannot be, so that no diagnosis may be made from it.

    Args:
        calibration: as it was read.

    Returns:
        The first fault, in words that follow a colon; None for a whole one.
    """
    return next(chain(_of_settings(calibration), _of_points(calibration), _of_skill(calibration)), None)


def _of_settings(calibration: CalibrationRecord) -> Iterator[str]:
    figures = calibration.figures
    if calibration.target != TARGET:
        yield f"it predicts {calibration.target!r} and not {TARGET}"
    if not figures or len(set(figures)) != len(figures):
        yield f"it reads one or more different figures, and names {', '.join(figures) or 'none'}"
    if strange := [tag for tag in figures if tag not in REFERENCE_ONLY]:
        yield f"it reads {strange[0]!r}, which reference images alone do not give"
    if not 0.5 <= calibration.level < 1:
        yield f"its level is at least 0.5 and below 1, and says {calibration.level:g}"
    if not math.isfinite(calibration.margin):
        yield "its margin is no number"
    if _BOOTSTRAP not in calibration.seeds:
        yield f"its seeds lack {_BOOTSTRAP}"


def _of_points(calibration: CalibrationRecord) -> Iterator[str]:
    seen = set[str]()
    for point in calibration.points:
        if point.name in seen:
            yield f"two rows are called {point.name!r}"
        seen.add(point.name)
        if point.kind not in _KINDS:
            yield f"its row {point.name!r} is of kind {point.kind!r}, and kinds are {', '.join(_KINDS)}"
        if unknown := _unknown(point, calibration.figures):
            yield f"its row {point.name!r} has no {unknown}"


def _unknown(point: TrainingPoint, figures: tuple[str, ...]) -> str | None:
    """Name of what a row of a table always has, and this one lacks."""
    values = {tag: on_scale(tag, point.figures.get(tag, math.nan)) for tag in figures}
    values |= {"target": point.target, "predicted": point.predicted}
    ends = {"low": point.low, "high": point.high}  # which are infinite where families are few
    lacking = [name for name, value in values.items() if not math.isfinite(value)]
    return next(iter((*lacking, *(name for name, value in ends.items() if math.isnan(value)))), None)


def _of_skill(calibration: CalibrationRecord) -> Iterator[str]:
    """Rows that were taken out leave a skill that was counted on more."""
    skill = calibration.skills[0] if calibration.skills else None
    if skill is None or skill.role != "diagnosis":
        yield "it does not say how well it predicts"
        return
    rows, families = len(calibration.points), len({point.family for point in calibration.points})
    if (rows, families) != (skill.rows, skill.families):
        yield (
            f"it has {rows} rows of {families} families, and says that it was judged on {skill.rows} of "
            f"{skill.families}"
        )
