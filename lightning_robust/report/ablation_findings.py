"""What the ablations say, in sentences that follow from the figures by fixed rules."""

from collections.abc import Iterator

from lightning_robust.report.ablation_words import (
    REFERENCE,
    SHIFTS,
    Change,
    Spread,
    change,
    controls_of,
    drawn,
    percent,
    points,
    short_name,
)
from lightning_robust.results.ablation_record import AblatedUnit, AblationRecord, UnitGroup

__all__ = ["findings"]

_COMMON = 0.9
"""From here on a unit is said to carry what classes share."""
_ROUNDING = 1e-9
_PLACES = {REFERENCE: "reference", SHIFTS: "the mean of the shifts"}


def findings(record: AblationRecord) -> Iterator[tuple[str, str]]:
    """A topic and a sentence for whatever is worth saying.

    Args:
        record: The ablation.
    """
    for group in record.groups:
        topic = f"{group.form} directions" if group.form else "features"
        if not group.by_rule:
            yield topic, _without_rule(group)
        yield from ((topic, sentence) for sentence in _against_random(record, group))
        if group.unit == "direction":
            yield from ((topic, sentence) for sentence in _shared(record, group))


def _without_rule(group: UnitGroup) -> str:
    if group.unit == "direction":
        return "none is privileged by the rule (importance above 10 times the median), so the most important stand in."
    why = "too few features for the rule, d ≤ 37" if group.found is None else "no outlier by the rule"
    return f"{why}; the features with the largest mean |z| stand in, and what they do says nothing of outliers."


def _against_random(record: AblationRecord, group: UnitGroup) -> Iterator[str]:
    """What the whole group costs, beside as many random units."""
    several = len(group.members) > 1
    whole = record.ablations_of(group, "zero", together=several)[0]
    who = f"the {len(group.members)} together set to zero" if several else f"{_only(record, group)} set to zero"
    for what, place in _PLACES.items():
        own = change(record, whole, what)
        if own is None:
            continue
        said = f"{who}: {_words(own)} on {place}"
        if own.low == own.high == 0:
            said = f"{who}: no answer on {place} becomes right or wrong"
        compared = [
            _beside(own, found, control, whole.count)
            for control in controls_of(record, group)
            if (found := drawn(record, group, "zero", what, control, together=several)) is not None
        ]
        held = "" if own.certain or own.low is None or own.low == own.high else ", an interval that holds 0"
        yield f"{said}{held}{''.join(f'; {one}' for one in compared)}."


def _only(record: AblationRecord, group: UnitGroup) -> str:
    return short_name(record.units_of(group)[0])


def _words(one: Change) -> str:
    if one.low is None or one.high is None:
        return f"{points(one.estimate)} points"
    return f"{points(one.estimate)} points [{points(one.low)}, {points(one.high)}]"


def _beside(own: Change, found: Spread, control: str, count: int) -> str:
    """Random units beside, and a verdict where as many were drawn and the interval excludes 0."""
    span = f" ({points(found.low)} to {points(found.high)})" if found.draws > 1 else ""
    spread = f"{control} {points(found.middle)}{span}"
    if found.count != count:
        return f"{found.count} {spread}, all that are left to draw and not compared"
    if not own.certain:
        return spread
    draws = "the only draw" if found.draws == 1 else f"each of the {found.draws} draws"
    if own.estimate < found.low - _ROUNDING:
        return f"{spread}, below {draws}"
    if own.estimate > found.high + _ROUNDING:
        return f"{spread}, above {draws}"
    return f"{spread}, within the draws"


def _shared(record: AblationRecord, group: UnitGroup) -> Iterator[str]:
    """Directions that add the same to every class: important, and of little use to a prediction."""
    for unit in record.units_of(group):
        if not unit.common >= _COMMON:
            continue
        alone = record.ablations_of(group, "zero", together=False, member=unit.index)[0]
        told = [
            f"{_words(own)} on {place}"
            for what, place in _PLACES.items()
            if (own := change(record, alone, what)) is not None
        ]
        yield (
            f"{short_name(unit)} has {percent(unit.importance_share)} % of the importance of all {group.of} "
            f"directions, and {percent(unit.common)} % of what it adds to the logits is the same for every class, "
            f"which no prediction can depend on{_rest(unit)}; without it: {', '.join(told)}."
        )


def _rest(unit: AblatedUnit) -> str:
    rest = 1 - unit.common
    return f" (the other {percent(rest)} % tells classes apart)" if rest > _ROUNDING else ""
