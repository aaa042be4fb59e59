"""The tables of a compression: what is smaller, what is faster, what it costs, and what is masked only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.compress_sentences import EXTRAPOLATED, compress_sentences, gain_sentence
from lightning_robust.report.compress_summary import SHIFTS, beyond, shown_shares, smallest
from lightning_robust.report.compress_words import (
    beside_words,
    count_words,
    file_words,
    in_points,
    milliseconds,
    model_words,
    point_label,
    start_words,
)
from lightning_robust.report.fitting import print_fitting
from lightning_robust.results import Interval
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord
from lightning_robust.results.effective_robustness import ShiftRobustness
from lightning_robust.results.names import ACCURACIES, RESULTS

__all__ = ["print_compression"]

_Column = tuple[str, Sequence[str]]
BEYOND = "‡"
"""Stands behind a share whose interval of what is lost goes beyond one point."""
_EACH = ("dense", "calibrated")
"""Of these each shift is printed."""


_WIDE = 130
"""Characters from which intervals stand in the table."""


def print_compression(record: CompressRecord, folder: Path, console: Console) -> None:
    """Print what was reached, then size, speed and accuracy of every network, and where everything lies.

    Args:
        record: The compression.
        folder: Where its files are.
        console: Where to print; 80 characters are enough, with 130 intervals stand beside accuracies.
    """
    _heading(console, f"{escape(model_words(record))}, compressed")
    console.print(f"{record.data.dataset}, {record.split} images", highlight=False, markup=False)
    _print_summary(record, console)
    wide, points = console.width >= _WIDE, _by_budget(record)
    _heading(
        console, f"Size{', times as fast' if record.dense.latency else ''}, accuracy in % and its change in points"
    )
    console.print(_dense_words(record), highlight=False, markup=False)
    groups = [_size(record, points, wide), _speed(record, points), _accuracy(record, points, wide)]
    _print(record, points, [*groups, _robustness(points, wide)], console)
    _print_shifts(record, points, console)
    for sentence in [*compress_sentences(record), _intervals(record, wide)]:
        if sentence:
            console.print(sentence, highlight=False, markup=False)
    _print_folders(record, folder, console)


def _intervals(record: CompressRecord, wide: bool) -> str:
    if len(record.points) == 1:
        return ""
    words = (
        "[ ]: 95 %, changes by paired bootstrap."
        if wide
        else f"95 % intervals: {RESULTS}, or a terminal of {_WIDE} characters."
    )
    return f"{words} {'Times, their ranges' if record.dense.latency else 'Files'} and ranks: {RESULTS}."


def _by_budget(record: CompressRecord) -> list[CompressedPoint]:
    """The dense network, then every budget with what was finetuned beside what it came from."""
    methods = list(dict.fromkeys(point.method for point in record.points))
    return sorted(record.points, key=lambda point: (-point.keep, methods.index(point.method), point.finetuned_epochs))


def _heading(console: Console, words: str) -> None:
    console.print(f"\n[bold]{words}[/bold]", highlight=False)


def _print(
    record: CompressRecord,
    points: Sequence[CompressedPoint],
    groups: Sequence[Sequence[_Column]],
    console: Console,
    *,
    lines: bool = True,
) -> None:
    """A row for each network, and mostly a line above each budget."""
    labels, apart = [], set()
    for k, point in enumerate(points):
        first = k <= 1 or point.keep != points[k - 1].keep
        if first and k:
            apart.add(k)
        asked = f"{100 * point.keep:g}%" if first and k else ""
        name = escape(point_label(record, point))
        label = name if point.method == "dense" else f"{asked:<5}{name}"
        labels.append(f"[dim]{label}[/dim]" if point.masked else label)
    print_fitting(console, labels, [group for group in groups if group], apart=apart if lines else ())


def _print_summary(record: CompressRecord, console: Console) -> None:
    found = smallest(record)
    if not found:
        return
    if record.near_chance:
        console.print(_near_chance(record), highlight=False, markup=False)
        return
    _heading(console, "Smallest network of each kind that loses at most one point")
    name = record.dense.reference.set
    columns: list[_Column] = [(escape(f"by {name}"), [_reached(record, one.reference, name) for one in found])]
    if record.dense.shifts:
        columns.append(("by mean of shifts", [_reached(record, one.shifts, SHIFTS) for one in found]))
    shown = [
        (f"at {100 * keep:g}%", [_both(next((p for p in one.series.points if p.keep == keep), None)) for one in found])
        for keep in shown_shares(record)
    ]
    print_fitting(console, [escape(one.series.label) for one in found], [columns, shown])
    both = f"{record.dense.reference.set} / mean of shifts" if record.dense.shifts else record.dense.reference.set
    console.print(f"at: accuracy, {both}; {start_words(record)}: {_both(record.dense)}", highlight=False, markup=False)
    console.print(
        _smallest_words(record, [cell for _, cells in columns for cell in cells]), highlight=False, markup=False
    )
    if sentence := gain_sentence(record):
        console.print(sentence, highlight=False, markup=False)


def _both(point: CompressedPoint | None) -> str:
    if point is None:
        return DASH
    words = f"{100 * point.reference.accuracy:.1f}"
    return f"{words} / {100 * point.shifts_mean:.1f}" if point.shifts else words


def _near_chance(record: CompressRecord) -> str:
    chance, dense = record.chance or 0.0, record.dense.reference
    return (
        f"Nothing can be concluded: {start_words(record)} is right on {100 * dense.accuracy:.1f} % of {dense.set}, and "
        f"guessing on {100 * chance:.1f} %: with so little to lose, what a smaller network loses says nothing."
    )


def _smallest_words(record: CompressRecord, cells: Sequence[str]) -> str:
    """What the first table means by losing at most one point, and by its times."""
    words = "At most one point: by the estimate"
    if any(BEYOND in cell for cell in cells):
        words += f"; {BEYOND} its 95 % interval goes beyond one point"
    if any(record.tuned_dense(point) is not record.dense for point in record.points[1:]):
        words += f"; +ft is compared with {start_words(record)}+ft"
    if record.dense.latency:
        words += f"; ×: times as fast as {beside_words(record)}, median and range over rounds"
    return f"{words}."


def _reached(record: CompressRecord, point: CompressedPoint | None, name: str) -> str:
    if point is None:
        return "none"
    kept = f"{record.share(point):.0%}{BEYOND if beyond(record, point, name) else ''}"
    if point.masked:
        return f"{kept} (masked)"
    batch = max(point.latency, key=int, default="")
    speed = record.speedup(point, batch)
    if speed is None:
        return kept
    low, high = point.latency[batch].speedup_low, point.latency[batch].speedup_high
    return f"{kept} ({speed:.2f} ×{'' if low is None or high is None else f', {low:.2f}-{high:.2f}'})"


def _dense_words(record: CompressRecord) -> str:
    dense = record.dense
    words = (
        f"{start_words(record)}: {count_words(dense.parameters)} parameters, {count_words(dense.flops)} FLOPs an image"
    )
    if dense.file_bytes is not None:
        words += f", a file of {file_words(dense.file_bytes)}"
    times = [
        f"{milliseconds(dense.latency[batch].median_ms)} ms for a batch of {batch}"
        for batch in sorted(dense.latency, key=int)
    ]
    return ", ".join((words, *times))


def _size(record: CompressRecord, points: Sequence[CompressedPoint], wide: bool) -> list[_Column]:
    columns: list[_Column] = [
        ("stored", [f"{100 * point.parameters / record.dense.parameters:.0f}%" for point in points]),
        ("FLOPs", [f"{100 * point.flops / record.dense.flops:.0f}%" for point in points]),
    ]
    return [*columns, ("file", [file_words(point.file_bytes) for point in points])] if wide else columns


def _speed(record: CompressRecord, points: Sequence[CompressedPoint]) -> list[_Column]:
    return [
        (f"b={batch}", [DASH if point.method == "dense" else _faster(record, point, batch) for point in points])
        for batch in sorted(record.dense.latency, key=int)
    ]


def _faster(record: CompressRecord, point: CompressedPoint, batch: str) -> str:
    speed = record.speedup(point, batch)
    return DASH if speed is None else f"{speed:.2f}"


def _accuracy(record: CompressRecord, points: Sequence[CompressedPoint], wide: bool) -> list[_Column]:
    name = record.dense.reference.set
    cells = [(point.reference.accuracy, point.differences.get(name)) for point in points]
    columns: list[_Column] = [(escape(name), _changes(cells, wide))]
    if record.dense.shifts:
        cells = [(point.shifts_mean, point.differences.get(SHIFTS)) for point in points]
        columns.append(("mean of shifts" if wide else "shifts", _changes(cells, wide)))
    return columns


def _changes(cells: Sequence[tuple[float, Interval | None]], wide: bool) -> list[str]:
    """Accuracy and change in one cell each, the parts below each other."""
    changes = [
        DASH if one is None else f"{in_points(one.estimate)} {_range(one)}" if wide else in_points(one.estimate)
        for _, one in cells
    ]
    width = max(map(len, changes))
    return [f"{100 * accuracy:.1f} {change:>{width}}" for (accuracy, _), change in zip(cells, changes, strict=True)]


def _range(interval: Interval) -> str:
    return f"[{in_points(interval.low)}, {in_points(interval.high)}]"


def _robustness(points: Sequence[CompressedPoint], wide: bool) -> list[_Column]:
    if not any(point.robustness for point in points):
        return []
    return [("ER", [_er(point.robustness.mean if point.robustness else None, wide) for point in points])]


def _er(er: ShiftRobustness | None, wide: bool) -> str:
    if er is None:
        return DASH
    words = f"{in_points(er.estimate)}{EXTRAPOLATED if er.extrapolated else ''}"
    return words if er.interval is None or not wide else f"{words} {_range(er.interval)}"


def _print_shifts(record: CompressRecord, points: Sequence[CompressedPoint], console: Console) -> None:
    """Each shift for the dense network and the calibrated ones alone: a table of all would be the longest."""
    names, shown = [row.set for row in points[0].shifts], [one for one in points if one.method in _EACH]
    if len(names) < 2:
        return
    rest = f"; all others: {ACCURACIES}" if len(shown) < len(points) else ""
    _heading(console, f"Accuracy on each shift, {start_words(record)} and calibrated{rest}")
    columns = [(escape(name), [f"{100 * one.shifts[k].accuracy:.1f}" for one in shown]) for k, name in enumerate(names)]
    _print(record, shown, [columns], console, lines=False)


def _print_folders(record: CompressRecord, folder: Path, console: Console) -> None:
    console.print(f"Everything: [bold]{escape(str(folder))}[/bold] ({RESULTS})", highlight=False, soft_wrap=True)
    folders = [point.folder for point in record.points if point.folder is not None]
    if folders:
        words = f"Networks there, which evaluate, probe and prune take as --model: {', '.join(folders)}"
        console.print(words, highlight=False, markup=False)
