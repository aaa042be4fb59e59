"""The tables of `ablate`: what is known of each unit, and what is lost without it, beside random units."""

import math
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.ablation_findings import findings
from lightning_robust.report.ablation_words import (
    CONTROLS,
    KINDS,
    REFERENCE,
    ROBUSTNESS,
    SHIFTS,
    Change,
    Spread,
    change,
    controls_of,
    drawn,
    draws_of,
    group_title,
    nothing,
    percent,
    points,
    short_name,
)
from lightning_robust.report.cells import DASH
from lightning_robust.report.fitting import print_fitting
from lightning_robust.results.ablation_record import AblatedUnit, AblationRecord, UnitGroup
from lightning_robust.results.names import RESULTS

__all__ = ["print_ablation"]

_Column = tuple[str, list[str]]


def print_ablation(record: AblationRecord, folder: Path, console: Console) -> None:
    """Print what `ablate` found: for each group what is lost without its units, then what they are.

    Args:
        record: The ablation.
        folder: Where its files are.
        console: Where to print; 80 characters are enough.
    """
    dataset = escape(record.data.dataset)
    console.print(f"\n[bold]{dataset}, {record.split} images: units taken away[/bold]", highlight=False)
    console.print(
        f"[bold]{escape(record.model.name)}[/bold], {escape(_layer(record))}", highlight=False, soft_wrap=True
    )
    console.print(_untouched(record), highlight=False, markup=False)
    for group in record.groups:
        console.print(f"\n[bold]{_capital(group_title(group))}[/bold]", highlight=False)
        _print_changes(record, group, console)
    console.print("\n[bold]What the units are[/bold]", highlight=False)
    for group in record.groups:
        labels = [_label(unit) for unit in record.units_of(group)]
        print_fitting(console, labels, [list(_facts(record, group))])
    for sentence in _notes(record):
        console.print(sentence, style="dim", highlight=False, markup=False)
    for sentence in record.notes:
        console.print(f"Note: {sentence}.", highlight=False, markup=False)
    console.print("\n[bold]What this says[/bold]", highlight=False)
    for topic, sentence in findings(record):
        console.print(f"[bold]{escape(topic)}:[/bold] {escape(sentence)}", highlight=False)
    for sentence in record.conventions:
        if "left out:" in sentence:
            console.print(sentence, style="bold red", highlight=False, markup=False)
    files = ", ".join((RESULTS, *record.files, "pictures"))
    place = escape(str(folder))
    console.print(f"\nEverything: [bold]{place}[/bold] ({files})", highlight=False, soft_wrap=True)


def _layer(record: AblationRecord) -> str:
    return f"at {record.layer}: {record.form}"


def _untouched(record: AblationRecord) -> str:
    rows = record.untouched
    shifts = [row.accuracy for row in rows[1:]]
    said = f"Untouched: {rows[0].set} {100 * rows[0].accuracy:.1f} %"
    if shifts:
        said += f", mean of shifts {100 * sum(shifts) / len(shifts):.1f} %"
    if record.robustness is not None:
        said += f", effective robustness {points(100 * record.robustness.mean.estimate)} points"
    return f"{said}. All below are changes without a unit, in points."


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _print_changes(record: AblationRecord, group: UnitGroup, console: Console) -> None:
    """A row for each unit, one for all together, then the random ones; zero with intervals, the others without."""
    units, controls = record.units_of(group), controls_of(record, group)
    labels = [short_name(unit) for unit in units]
    several = len(units) > 1
    labels += [f"all {len(units)} together"] if several else []
    labels += [
        f"[dim]{words}[/dim]" for control in controls for words in _control_words(record, group, control, several)
    ]
    apart = {len(units)} if several else set[int]()
    apart.add(len(units) + several)
    zero = [
        (title, _cells(record, group, "zero", what, intervals=what != ROBUSTNESS))
        for what, title in ((REFERENCE, "zero: reference"), (SHIFTS, "mean of shifts"), (ROBUSTNESS, "ER"))
        if _measured(record, what)
    ]
    others = [
        [
            (f"{kind}: ref.\n" if what == REFERENCE else "shifts", _cells(record, group, kind, what, intervals=False))
            for what in (REFERENCE, SHIFTS)
            if _measured(record, what)
        ]
        for kind in KINDS[1:]
        if not _does_nothing(record, group, kind)
    ]
    others = [[(title.strip(), cells) for title, cells in columns] for columns in others]
    print_fitting(console, labels, [zero, *others], apart=apart)


def _control_words(record: AblationRecord, group: UnitGroup, control: str, several: bool) -> list[str]:
    """One by one, and how many are drawn at once: where few are left that is not the number of the group."""
    words = "random" if group.unit == "feature" else CONTROLS[control]
    count = draws_of(record, group, control)[1]
    return [f"{words}: one", f"  {count} together"] if several else [f"{words}: one"]


def _measured(record: AblationRecord, what: str) -> bool:
    return change(record, record.ablations[0], what) is not None


def _does_nothing(record: AblationRecord, group: UnitGroup, kind: str) -> bool:
    own = [one for together in (True, False) for one in record.ablations_of(group, kind, together=together)]
    return nothing([change(record, one, what) for one in own for what in (REFERENCE, SHIFTS)])


def _cells(record: AblationRecord, group: UnitGroup, kind: str, what: str, *, intervals: bool) -> list[str]:
    units = record.units_of(group)
    own = [record.ablations_of(group, kind, together=False, member=unit.index) for unit in units]
    own += [record.ablations_of(group, kind, together=True)] if len(units) > 1 else []
    cells = [_cell(change(record, found[0], what), intervals) for found in own]
    return cells + [
        _spread(drawn(record, group, kind, what, control, together=together), intervals)
        for control in controls_of(record, group)
        for together in ((False, True) if len(units) > 1 else (False,))
    ]


def _cell(one: Change | None, interval: bool) -> str:
    if one is None:
        return DASH
    estimate = f"[bold]{points(one.estimate)}[/bold]" if one.certain else points(one.estimate)
    if not interval or one.low is None or one.high is None:
        return estimate
    return f"{estimate} \\[{points(one.low)}, {points(one.high)}]"


def _spread(found: Spread | None, interval: bool) -> str:
    if found is None:
        return DASH
    span = f" ({points(found.low)} to {points(found.high)})" if interval and found.draws > 1 else ""
    return f"[dim]{points(found.middle)}{span}[/dim]"


def _label(unit: AblatedUnit) -> str:
    return short_name(unit) if unit.unit == "feature" else f"{unit.form} {unit.index + 1}"


def _facts(record: AblationRecord, group: UnitGroup) -> Iterator[_Column]:
    """What is known of the units of a group."""
    units = record.units_of(group)
    yield "‖h‖² %", [percent(unit.share) for unit in units]
    if group.unit == "direction":
        yield "imp. %", [percent(unit.importance_share) for unit in units]
    if record.at_head:
        yield "common %", [percent(unit.common) for unit in units]
    if group.unit == "feature":
        yield "|z|", [f"{unit.mean_z:.1f}" for unit in units]
        yield ">6 %", [percent(unit.far_out) for unit in units]
    if any(unit.concepts for unit in units):
        yield "concept: AP (chance)", [_concept(unit) for unit in units]


def _concept(unit: AblatedUnit) -> str:
    if not unit.concepts:
        return DASH
    best = unit.concepts[0]
    sign = "−" if best.sign < 0 else ""
    return escape(f"{sign}{best.concept} {best.average_precision:.2f} ({best.prevalence:.2f})")


def _draws(record: AblationRecord) -> str:
    """The number of draws, which is not the same everywhere where few units are left."""
    counts = {draws_of(record, group, one)[0] for group in record.groups for one in controls_of(record, group)}
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{high} draw{'s' * (high != 1)}" if low == high else f"{low} to {high} draws"


def _one_by_one(record: AblationRecord) -> str:
    return "one by one" if record.at_head else "the first of each draw alone"


def _notes(record: AblationRecord) -> Iterator[str]:
    yield (
        f"zero, mean, clip: the unit's value becomes 0, its mean, or is limited to {record.clip_at:g} standard "
        "deviations from it (over the calibration images). Bold: the 95 % interval excludes 0. Random: mean (smallest "
        f"to largest) over {_draws(record)}, {_one_by_one(record)}, and all of a draw together."
    )
    if record.at_head:
        yield (
            "‖h‖²: share of the squared length of h; imp.: importance, σ · mean |cos(v, h)|, in % of its sum over all "
            "directions of that head; common: share of what a unit adds to the logits (squared) that is the same for "
            "every class and so changes no prediction; |z|: mean, >6: images on which it exceeds 6."
        )
    known = [one for one in record.random_concepts if not math.isnan(one)]
    if record.random_concepts and not known:
        yield "No concept of the set is eligible (10 images with it, 10 without, at most half), so none is named."
    if known:
        low, high = min(known), max(known)
        yield (
            f"AP: average precision of the unit or (−) its negative; in brackets the concept's prevalence. "
            f"{len(known)} random directions reach {low:.2f} to {high:.2f}, each with the concept that it ranks best."
        )
    unused = [kind for kind in KINDS[1:] if all(_does_nothing(record, group, kind) for group in record.groups)]
    for kind in unused:
        yield f"{kind} changes nothing anywhere (less than 0.05 points), so it has no columns."
