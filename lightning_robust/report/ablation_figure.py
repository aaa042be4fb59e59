"""The picture of `ablate`: what each unit costs, with its interval, above the band of random units."""

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
    "random directions of the head": "#808080",
    "random directions of the space": "#CC79A7",
}
_APART = 0.22


def ablation_figure(record: AblationRecord) -> Figure:
    """A column for each group, each on a scale of its own; a row for reference, shifts and effective robustness.

    Points are the units one by one and together, a colour for each kind of ablation, with 95 % intervals of the paired
    bootstrap where there are any; bands reach from the smallest to the largest draw of random units set to zero.

    Args:
        record: The ablation.
    """
    rows = [what for what in _ROWS if change(record, record.ablations[0], what) is not None]
    groups = record.groups
    widths = [max(3, len(group.members) + 1) for group in groups]
    figure = Figure(figsize=(2.2 + 0.85 * sum(widths), 1.4 + 2.3 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(groups), squeeze=False, gridspec_kw={"width_ratios": widths})
    for column, group in enumerate(groups):
        grid[0, column].set_title(_title(group), fontsize=9)
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
        list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False, fontsize=8.5
    )
    figure.suptitle(f"{record.model.name}, {record.layer}: units taken away", fontsize=11)
    return figure


def _title(group: UnitGroup) -> str:
    words, apart, rest = group.words.partition(" (")
    return f"{words}\n({rest}" if apart else words


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
    names = [member_name(group.unit, member).replace(" ", "\n") for member in group.members]
    names += [f"all {len(group.members)}\ntogether"] if several else []
    axes.set_xticks(range(len(names)), names, fontsize=7.5)
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
            if found is None:
                continue
            middle, low, high = found
            label = f"{CONTROLS[control]}, set to zero" if not together else None
            axes.fill_between([start, end], low, high, color=_BANDS[control], alpha=0.3, linewidth=0, label=label)
            axes.plot([start, end], [middle, middle], color=_BANDS[control], linewidth=1)
