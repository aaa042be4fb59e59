"""What a diagnosis may say, and why, in sentences."""

import math
from collections.abc import Mapping, Sequence

from lightning_robust.results.choices import Interval
from lightning_robust.results.diagnosis_record import PredictorSkill
from lightning_robust.results.diagnosis_sentence import points

__all__ = [
    "FEWEST_FOR_A_VERDICT",
    "calibration_limits",
    "calibration_usable",
    "contributions_said",
    "verdict",
]

FEWEST_FOR_A_VERDICT = 10
"""Families below which no verdict is given (METHODS 7)."""


def calibration_usable(skill: PredictorSkill) -> tuple[bool, tuple[str, ...]]:
    """Whether a table allows verdicts at all.

    It does with at least ten families, and if predictions without the own family rank its rows: the interval of their
    correlation lies above 0. The mean of the others alone would correlate *negatively* with what was left out, so that
    a figure that says nothing is found below 0, not at it. Where prediction intervals are known to be too narrow, one
    row of each family counted, a verdict by them would be, too: so where Wilson's interval lies below what they aim at.

    Args:
        skill: of the diagnosis on its table.

    Returns:
        Whether it does, and a sentence for each reason against it.
    """
    reasons = []
    if skill.families < FEWEST_FOR_A_VERDICT:
        reasons.append(f"The table has {skill.families} families; below {FEWEST_FOR_A_VERDICT} no verdict is given.")
    if not skill.correlation.low > 0:
        reasons.append(f"Predictions without the own family do not rank the rows: Spearman {_said(skill.correlation)}.")
    covered = skill.coverage_by_family
    if covered is not None and covered.high < covered.nominal:
        reasons.append(
            f"Its intervals are too narrow: they held {covered.held} of {covered.total} families, "
            f"and {100 * covered.nominal:.0f} % was aimed at."
        )
    return not reasons, tuple(reasons)


def calibration_limits(skill: PredictorSkill, others: Sequence[PredictorSkill]) -> tuple[str, ...]:
    """What limits a table's verdicts without forbidding them, a sentence each.

    Args:
        skill: of the diagnosis.
        others: skills of rivals.
    """
    limits = []
    if not skill.r_squared > 0:
        limits.append(
            f"Its predictions are no nearer than the mean of the other families (R² {_signed(skill.r_squared)})."
        )
    if not skill.between_families.low > 0:
        limits.append(f"It is not known to rank families by their means: Spearman {_said(skill.between_families)}.")
    pretrained = skill.pretrained
    if pretrained is not None and not pretrained.low > 0:
        limits.append(f"Among pretrained models alone it is not known to rank: Spearman {_said(pretrained)}.")
    within = skill.within_families
    if within.high < 0:
        limits.append(f"Inside a family it ranks the wrong way round, as along a path: Spearman {_said(within)}.")
    elif not within.low > 0:
        limits.append(f"It is not known to rank models of one family, as along a path: Spearman {_said(within)}.")
    better = [other for other in others if other.correlation.estimate >= skill.correlation.estimate]
    limits += [
        f"{other.name} alone ranks no worse: Spearman {_said(other.correlation)}, against {_said(skill.correlation)}."
        for other in better
    ]
    return tuple(limits)


def verdict(low: float, high: float, margin: float, level: float, against: Sequence[str]) -> tuple[str, str]:
    """What a prediction interval says, and in which words.

    A model is robust if its effective robustness is above the margin that standard models reach by chance, so the
    verdict is *robust* where the whole interval lies above the margin, *not robust* where it lies below, and
    *undetermined* where the margin lies inside or something speaks against any verdict.

    Args:
        low: low end of the prediction interval, a fraction.
        high: its high end.
        margin: effective robustness that a standard model may show by chance, a fraction.
        level: nominal coverage of the interval.
        against: reasons against any verdict.

    Returns:
        One of `VERDICTS`, and a sentence.

    Example:
        >>> verdict(0.05, 0.15, 0.02, 0.9, ())[0], verdict(-0.05, 0.01, 0.02, 0.9, ())[0]
        ('robust', 'not robust')
        >>> verdict(-0.05, 0.15, 0.02, 0.9, ())[1]
        'The 90 % interval, −5.0 to +15.0 points, holds +2.0, which a standard model may show by chance.'
    """
    ends = f"{points(low, digits=1)} to {points(high, digits=1)} points"
    interval = f"The {100 * level:.0f} % interval, {ends},"
    known = f"{points(margin, digits=1)}, which a standard model may show by chance."
    if low > margin:
        said, sentence = "robust", f"{interval} lies above {known}"
    elif high < margin:
        said, sentence = "not robust", f"{interval} lies below {known}"
    else:
        said, sentence = "undetermined", f"{interval} holds {known}"
    return ("undetermined" if against else said), sentence


def contributions_said(contributions: Mapping[str, float]) -> str:
    """Which figures move a prediction most, in a sentence.

    Args:
        contributions: by tag, a fraction.

    Example:
        >>> contributions_said({"a": 0.01, "b": -0.05, "c": 0.001})
        'Moved most from the mean of the table by b (−5.0 points) and a (+1.0 points).'
    """
    most = sorted(contributions.items(), key=lambda item: -abs(item[1]))[:2]
    said = " and ".join(f"{tag} ({points(by, digits=1)} points)" for tag, by in most)
    return f"Moved most from the mean of the table by {said}."


def _said(found: Interval) -> str:
    if math.isnan(found.estimate):
        return "–"
    ends = f"{_signed(found.low)} to {_signed(found.high)}"
    return f"{_signed(found.estimate)} ({100 * found.level:.0f} % interval {ends})"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
