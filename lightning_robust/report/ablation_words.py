"""What table, figure and contact sheet of `ablate` share: names of units, differences and random draws in points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lightning_robust.results.ablation_record import AblatedUnit, Ablation, AblationRecord, UnitGroup

__all__ = [
    "COLOURS", "CONTROLS", "KINDS", "REFERENCE", "ROBUSTNESS", "SHIFTS", "Change", "Spread", "change", "controls_of",
    "drawn", "draws_of", "group_title", "member_name", "percent", "points", "short_name", "unit_name",
]  # fmt: skip

KINDS = ("zero", "mean", "clip")
COLOURS = {"zero": "#0072B2", "mean": "#E69F00", "clip": "#009E73"}
"""Okabe and Ito's palette, told apart by the colour-blind."""
REFERENCE, SHIFTS, ROBUSTNESS = "reference", "shifts", "robustness"
CONTROLS = {
    "random features": "random features",
    "random directions of the head": "random, of the head",
    "random directions of the space": "random, of the space",
}
_NOTHING = 0.0005


@dataclass(frozen=True)
class Change:
    """What an ablation changes, in points.

    Attributes:
        estimate: accuracy minus that of the model as it is; of effective robustness likewise.
        low, high: its interval; None where there is none.
    """

    estimate: float
    low: float | None = None
    high: float | None = None

    @property
    def certain(self) -> bool:
        """Whether an interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Spread:
    """What the draws of a control change, in points.

    Attributes:
        middle, low, high: mean, smallest and largest change.
        draws: how many draws, or of single units how many different ones.
        count: units that are ablated at once.
    """

    middle: float
    low: float
    high: float
    draws: int
    count: int


def change(record: AblationRecord, ablation: Ablation, what: str) -> Change | None:
    """What an ablation changes on the reference, on the mean of the shifts, or in mean effective robustness.

    Args:
        record: The record.
        ablation: One of its ablations.
        what: `"reference"`, `"shifts"` or `"robustness"`.

    Returns:
        None where that was not measured: no shifts, no baseline.
    """
    if what == ROBUSTNESS:
        before, after = record.robustness, ablation.robustness
        return None if before is None or after is None else _points(after.mean.estimate - before.mean.estimate)
    if what == SHIFTS:
        if len(record.untouched) < 2:
            return None
        found, start = ablation.shifts_mean, fmean(row.accuracy for row in record.untouched[1:])
    else:
        found, start = ablation.rows[0].accuracy, record.untouched[0].accuracy
    interval = ablation.differences.get(SHIFTS if what == SHIFTS else record.untouched[0].set)
    if interval is None:
        return _points(found - start)
    return Change(100 * interval.estimate, 100 * interval.low, 100 * interval.high)


def _points(share: float) -> Change:
    return Change(100 * share)


def drawn(
    record: AblationRecord, group: UnitGroup, kind: str, what: str, control: str, *, together: bool
) -> Spread | None:
    """Mean, smallest and largest change over the draws of a control; a unit that several drew counts once.

    Args:
        record: The record.
        group: Whose control.
        kind: Of ablation.
        what: As in `change`.
        control: Its name.
        together: As many random units as the group has at once, or one by one.

    Returns:
        None where there is none.
    """
    draws = record.ablations_of(group, kind, together=together, control=control)
    different = {one.members or (one.draw, one.places, index): one for index, one in enumerate(draws)}.values()
    found = [one.estimate for ablation in different if (one := change(record, ablation, what)) is not None]
    return Spread(fmean(found), min(found), max(found), len(found), draws[0].count) if found else None


def draws_of(record: AblationRecord, group: UnitGroup, control: str) -> tuple[int, int]:
    """How many draws of a control there are, and how many units each has.

    Args:
        record: The record.
        group: Whose control.
        control: Its name.
    """
    found = record.ablations_of(group, KINDS[0], together=True, control=control)
    found = found or record.ablations_of(group, KINDS[0], together=False, control=control)
    return len({one.draw for one in found}), max((one.count for one in found), default=0)


def controls_of(record: AblationRecord, group: UnitGroup) -> list[str]:
    """The controls that a group has, in the order of the tables.

    Args:
        record: The record.
        group: One of its groups.
    """
    there = {one.control for one in record.ablations if (one.unit, one.form) == (group.unit, group.form)}
    return [name for name in CONTROLS if name in there]


def unit_name(unit: AblatedUnit) -> str:
    """A unit in a text: `feature 7`, `raw direction 1`; directions are counted from 1, features from 0."""
    return f"feature {unit.index}" if unit.unit == "feature" else f"{unit.form} direction {unit.index + 1}"


def short_name(unit: AblatedUnit) -> str:
    """A unit in a table of its group: `feature 7`, `direction 1`."""
    return member_name(unit.unit, unit.index)


def member_name(unit: str, index: int) -> str:
    """As `short_name`, of an index."""
    return f"feature {index}" if unit == "feature" else f"direction {index + 1}"


def group_title(group: UnitGroup) -> str:
    """A group with how many there are."""
    return f"{group.words}, of {group.of:,}"


def percent(share: float) -> str:
    """A share in %, with as many digits as tell small ones apart; a dash where it is not defined.

    Example:
        >>> percent(0.1598), percent(0.00004), percent(float("nan"))
        ('16.0', '<0.1', '–')
    """
    if math.isnan(share):
        return "–"
    return "<0.1" if 0 < share < _NOTHING else f"{100 * share:.1f}"


def points(number: float, digits: int = 1) -> str:
    """A change with its sign; one that rounds to zero has none.

    Example:
        >>> points(-22.37), points(0.04), points(-0.04)
        ('-22.4', '0.0', '0.0')
    """
    said = f"{number:+.{digits}f}"
    return said[1:] if float(said) == 0 else said


def nothing(changes: Sequence[Change | None]) -> bool:
    """Whether no change reaches 0.05 points, what a table would show as 0.0.

    Example:
        >>> nothing([Change(0.04), None]), nothing([Change(-0.3)])
        (True, False)
    """
    return all(one is None or abs(one.estimate) < 100 * _NOTHING for one in changes)
