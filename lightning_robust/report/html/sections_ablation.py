"""Ablation: what a model loses without its outlier features and its most important directions, beside random ones."""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from lightning_robust.report.ablation_findings import findings
from lightning_robust.report.ablation_words import (
    REFERENCE,
    SHIFTS,
    change,
    controls_of,
    drawn,
    group_title,
    member_name,
    percent,
)
from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.bars import Bar, bars
from lightning_robust.report.html.blocks import choices, folded, grid, note, table
from lightning_robust.report.html.markup import joined
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.several import each, minus, told
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.results.ablation_record import AblationRecord, UnitGroup

__all__ = ["section"]

_PLACES = {REFERENCE: "accuracy on the reference", SHIFTS: "mean accuracy on the shifts"}


def section(found: Sources) -> Section | None:
    """What ablations cost; None where there were none.

    Args:
        found: result files.
    """
    if not found.ablations:
        return None
    first = _leading(found.ablations[0].record)
    lead = "" if first is None else minus(f"{first[0][:1].upper()}{first[0][1:]}, {first[1]}")
    return Section(
        id="ablation",
        title="Ablation",
        lead=lead,
        body=each(found.ablations, lambda one: _one(one, first if one is found.ablations[0] else None)),
    )


def _leading(record: AblationRecord) -> tuple[str, str] | None:
    """The finding that the section begins with: what all directions cost together, else the first group's."""
    zeroed = [(topic, said) for topic, said in findings(record) if "set to zero" in said]
    return next((one for one in zeroed if "directions" in one[0]), zeroed[0] if zeroed else None)


def _one(found: Found[AblationRecord], said: tuple[str, str] | None) -> Markup:
    record = found.record
    panels = [(group_title(group), _panel(record, group)) for group in record.groups]
    return joined(
        [
            told(one for one in findings(record) if one != said),
            choices("Units", panels, first=_first(record)) if panels else None,
            *(note(sentence) for sentence in record.notes),
            folded("How it was measured", *(note(sentence) for sentence in record.conventions)),
        ]
    )


def _first(record: AblationRecord) -> int:
    """Directions first, where there are some."""
    return next((k for k, group in enumerate(record.groups) if group.unit == "direction"), 0)


def _panel(record: AblationRecord, group: UnitGroup) -> Markup:
    charts = [one for what in _PLACES if (one := _chart(record, group, what)) is not None]
    return joined([grid(*charts), _table(record, group)])


def _chart(record: AblationRecord, group: UnitGroup, what: str) -> Markup | None:
    rows = [*_own(record, group, what), *_controls(record, group, what)]
    if not rows:
        return None
    axis = Axis(label="change, points", decimals=1)
    words = "Each bar is the change when it is set to zero; grey bars are random units, mean and range over the draws."
    return bars(f"{_PLACES[what][:1].upper()}{_PLACES[what][1:]}", axis, rows, words=words)


def _own(record: AblationRecord, group: UnitGroup, what: str) -> Iterator[Bar]:
    several = len(group.members) > 1
    named = [(member_name(group.unit, member), False, member) for member in group.members]
    everything = [(f"all {len(group.members)} together", True, None)] if several else []
    for name, together, member in [*named, *everything]:
        found = record.ablations_of(group, "zero", together=together, member=member)
        own = change(record, found[0], what) if found else None
        if own is not None:
            yield Bar(name=name, value=own.estimate, low=own.low, high=own.high, tone=2 if together else 1)


def _controls(record: AblationRecord, group: UnitGroup, what: str) -> Iterator[Bar]:
    for control in controls_of(record, group):
        for together in (False, True) if len(group.members) > 1 else (False,):
            found = drawn(record, group, "zero", what, control, together=together)
            if found is not None:
                where = control.removeprefix("random directions of the ").removeprefix("random features")
                name = f"{found.count if together else 1} random{f', {where}' if where else ''}"
                yield Bar(name=name, value=found.middle, low=found.low, high=found.high, tone=0)


def _table(record: AblationRecord, group: UnitGroup) -> Markup:
    columns = ["unit", "by the rule", "of ‖h‖², %", "of all importance, %", "same for every class, %", "mean |z|"]
    rows = []
    for unit in record.units_of(group):
        z = "–" if math.isnan(unit.mean_z) else f"{unit.mean_z:.1f}"
        shares: Sequence[float] = (unit.share, unit.importance_share, unit.common)
        rule = "yes" if unit.by_rule else "no"
        rows.append([member_name(group.unit, unit.index), rule, *(percent(share) for share in shares), z])
    return table(columns, rows, caption=f"{group_title(group)}: what they are")
