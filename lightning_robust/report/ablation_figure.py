"""The picture of `ablate`: what each unit costs, with its interval, above the band of random units."""

import textwrap
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_robust.report.ablation_words import (
    COLOURS,
    CONTROLS,
    KINDS,
    REFERENCE,
    ROBUSTNESS,
    SHIFTS,
    change,
    controls_of,
    drawn,
    draws_of,
    member_name,
)
from lightning_robust.results.ablation_record import AblationRecord, UnitGroup

__all__ = ["ablation_figure"]

_ROWS = {
    REFERENCE: "reference accuracy,\nchange in points",
    SHIFTS: "mean of the shifts,\nchange in points",
    ROBUSTNESS: "effective robustness,\nchange in points",
}
_BANDS = {
    "random features": "#808080",
    "random directions of the head": "#56B4E9",
    "random directions of the space": "#CC79A7",
}
_APART = 0.22
_UNIT, _WIDEST = 0.62, 40.0  # inches for a unit, and for all of them
_CHARACTER = 0.078  # inches of a title's
_ALL_NAMED = 16
"""So many units of a group have names that lie flat."""


def ablation_figure(record: AblationRecord) -> Figure:
    """A column for each group, each on a scale of its own; a row for reference, shifts and effective robustness.

    Points are the units one by one and together, a colour for each kind of ablation, with 95 % intervals of the paired
    bootstrap where there are any; bands reach from the smallest to the largest draw of random units set to zero, and
    are lines where there is one. Behind a whole group there is none where fewer random units were left to draw.

    Args:
        record: The ablation.
    """
    rows = [what for what in _ROWS if change(record, record.ablations[0], what) is not None]
    groups = record.groups
    widths = [max(5, len(group.members) + 1) for group in groups]
    unit = min(_UNIT, _WIDEST / sum(widths))
    width = max(6.4, 1.6 + unit * sum(widths))
    figure = Figure(figsize=(width, 1.8 + 2.3 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(groups), squeeze=False, gridspec_kw={"width_ratios": widths})
    for column, group in enumerate(groups):
        space = (width - 1.2) * widths[column] / sum(widths)
        grid[0, column].set_title(_wrapped(_title(group), space), fontsize=9)
        grid[-1, column].set_xlabel(group.unit, fontsize=8.5)
        for row, what in enumerate(rows):
            _panel(grid[row, column], record, group, what)
            grid[row, column].tick_params(labelbottom=row == len(rows) - 1)
            if column == 0:
                grid[row, column].set_ylabel(_ROWS[what], fontsize=9)
    handles: dict[str, Artist] = {}
    for axes in grid[0]:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=3 if width > 9 else 2, frameon=False,
        fontsize=8.5,
    )  # fmt: skip
    title = f"{record.model.name}, {record.layer}: units taken away"
    figure.suptitle(_wrapped(title, width, larger=11 / 9), fontsize=11)
    return figure


def _title(group: UnitGroup) -> str:
    words, apart, rest = group.words.partition(" (")
    return f"{words}\n({rest}" if apart else words


def _wrapped(title: str, inches: float, larger: float = 1.0) -> str:
    """A title in as many lines as fit, also of one long word."""
    most = max(12, int(inches / _CHARACTER / larger))
    return "\n".join(part for line in title.splitlines() for part in textwrap.wrap(line, most))


def _panel(axes: Axes, record: AblationRecord, group: UnitGroup, what: str) -> None:
    several = len(group.members) > 1
    _bands(axes, record, group, what, several)
    for place, kind in enumerate(KINDS):
        found = [record.ablations_of(group, kind, together=False, member=member)[0] for member in group.members]
        found += record.ablations_of(group, kind, together=True) if several else ()
        changes = [change(record, one, what) for one in found]
        x = [index + (place - 1) * _APART for index in range(len(changes))]
        y = [0.0 if one is None else one.estimate for one in changes]
        below = [0.0 if one is None or one.low is None else one.estimate - one.low for one in changes]
        above = [0.0 if one is None or one.high is None else one.high - one.estimate for one in changes]
        axes.errorbar(
            x, y, yerr=[[max(0.0, v) for v in below], [max(0.0, v) for v in above]], fmt="osD"[place],
            color=COLOURS[kind], markersize=4, linewidth=1.2, capsize=2,
            label=_KIND_WORDS[kind].format(clip_at=record.clip_at),
        )  # fmt: skip
    axes.axhline(0, color="0.3", linewidth=0.8)
    names = [member_name(group.unit, member).split()[-1] for member in group.members]
    flat = len(names) <= _ALL_NAMED
    names += [f"all{chr(10) if flat else ' '}{len(group.members)}"] if several else []
    axes.set_xticks(range(len(names)), names, fontsize=8, rotation=0 if flat else 90)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


_KIND_WORDS = {
    "zero": "set to zero",
    "mean": "set to its mean",
    "clip": "limited to {clip_at:g} standard deviations",
}


def _bands(axes: Axes, record: AblationRecord, group: UnitGroup, what: str, several: bool) -> None:
    """Random units one by one behind the single ones, as many as the group has behind those together."""
    last = len(group.members)
    controls = controls_of(record, group)
    for control in controls:
        spans: Sequence[tuple[bool, float, float]] = [(False, -0.5, last - 0.5)]
        spans = [*spans, (True, last - 0.5, last + 0.5)] if several else spans
        for together, start, end in spans:
            found = drawn(record, group, "zero", what, control, together=together)
            if found is None or (together and found.count < last):
                continue
            draws = draws_of(record, group, control)[0]
            label = None
            if not together:
                label = f"{CONTROLS[control]}, set to zero ({draws} draw{'s' * (draws != 1)})"
            colour, middle = _BANDS[control], [found.middle, found.middle]
            if found.draws == 1:
                axes.plot([start, end], middle, color=colour, linewidth=2, label=label)
                continue
            axes.fill_between([start, end], found.low, found.high, color=colour, alpha=0.3, linewidth=0, label=label)
            axes.plot([start, end], middle, color=colour, linewidth=1)
