"""The tables of a compression: what is smaller, what is faster, what it costs, and what is masked only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH
from lightning_robust.report.compress_sentences import EXTRAPOLATED, compress_sentences
from lightning_robust.report.compress_summary import SHIFTS, smallest
from lightning_robust.report.compress_words import (
    count_words,
    file_words,
    in_points,
    milliseconds,
    model_words,
    point_label,
)
from lightning_robust.report.fitting import print_fitting
from lightning_robust.results import Interval
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord
from lightning_robust.results.effective_robustness import ShiftRobustness
from lightning_robust.results.names import RESULTS

__all__ = ["print_compression"]

_Column = tuple[str, Sequence[str]]


def print_compression(record: CompressRecord, folder: Path, console: Console) -> None:
    """Print what was reached, then size, speed and accuracy of every network, and where everything lies.

    Args:
        record: The compression.
        folder: Where its files are.
        console: Where to print; 80 characters are enough, a wide one has fewer and wider tables.
    """
    _heading(console, f"{escape(model_words(record))}, compressed")
    console.print(f"{record.data.dataset}, {record.split} images", highlight=False, markup=False)
    _print_summary(record, console)
    times = ", and time of a batch in ms beside the dense network in the same rounds"
    _heading(console, f"Size{times if record.dense.latency else ''}")
    points = _by_budget(record)
    made = [point for point in points if not (point.finetuned_epochs and _untuned(record, point))]
    _print(record, made, [_size(record, made), _speed(record, made)], console)
    _heading(console, "Accuracy in % and change against dense in points (95 % paired bootstrap)")
    _print(record, points, [_accuracy(record, points), _robustness(points), _each_shift(points)], console)
    for sentence in compress_sentences(record):
        console.print(sentence, highlight=False, markup=False)
    _print_folders(record, folder, console)


def _by_budget(record: CompressRecord) -> list[CompressedPoint]:
    """The dense network, then every budget with what was finetuned beside what it came from."""
    methods = list(dict.fromkeys(point.method for point in record.points))
    return sorted(record.points, key=lambda point: (-point.keep, methods.index(point.method), point.finetuned_epochs))


def _heading(console: Console, words: str) -> None:
    console.print(f"\n[bold]{words}[/bold]", highlight=False)


def _untuned(record: CompressRecord, point: CompressedPoint) -> bool:
    """Whether the network is there before finetuning too, which changes neither size nor time."""
    return any(
        (one.method, one.keep, one.parameters, one.finetuned_epochs) == (point.method, point.keep, point.parameters, 0)
        for one in record.points
    )


def _print(
    record: CompressRecord, points: Sequence[CompressedPoint], groups: Sequence[Sequence[_Column]], console: Console
) -> None:
    """A row for each network, a line above each budget."""
    labels, apart = [], set()
    for k, point in enumerate(points):
        first = k <= 1 or point.keep != points[k - 1].keep
        if first and k:
            apart.add(k)
        asked = f"{100 * point.keep:g}%" if first and k else ""
        label = f"{asked:<5}{escape(point_label(record, point))}" if k else "dense"
        labels.append(f"[dim]{label}[/dim]" if point.masked else label)
    print_fitting(console, labels, [group for group in groups if group], apart=apart)


def _print_summary(record: CompressRecord, console: Console) -> None:
    found = smallest(record)
    if not found:
        return
    _heading(console, "Smallest network made of each kind that loses at most one point")
    columns: list[_Column] = [
        (escape(f"on {record.dense.reference.set}"), [_reached(record, one.reference) for one in found])
    ]
    if record.dense.shifts:
        columns.append(("on the mean of shifts", [_reached(record, one.shifts) for one in found]))
    print_fitting(console, [escape(one.series.label) for one in found], [columns])


def _reached(record: CompressRecord, point: CompressedPoint | None) -> str:
    if point is None:
        return "none"
    kept = f"{record.share(point):.0%} kept"
    if point.masked:
        return f"{kept}, masked"
    speed = record.speedup(point, max(point.latency, key=int)) if point.latency else None
    return kept if speed is None else f"{kept}, {speed:.2f} × faster"


def _size(record: CompressRecord, points: Sequence[CompressedPoint]) -> list[_Column]:
    return [
        ("kept", [f"{100 * record.share(point):.1f}%" for point in points]),
        ("stored", [count_words(point.parameters) for point in points]),
        ("FLOPs", [count_words(point.flops) for point in points]),
        ("file", [file_words(point.file_bytes) for point in points]),
    ]


def _speed(record: CompressRecord, points: Sequence[CompressedPoint]) -> list[_Column]:
    columns: list[_Column] = []
    for batch in sorted(record.dense.latency, key=int):
        times = [point.latency.get(batch) for point in points]
        columns.append((f"b={batch}", [DASH if one is None else milliseconds(one.median_ms) for one in times]))
        columns.append(("× faster", [_faster(record, point, batch) for point in points]))
    return columns


def _faster(record: CompressRecord, point: CompressedPoint, batch: str) -> str:
    speed, own = record.speedup(point, batch), point.latency.get(batch)
    if speed is None or own is None or point.method == "dense":
        return DASH
    if own.speedup_low is None or own.speedup_high is None:
        return f"{speed:.2f}"
    return f"{speed:.2f} [{own.speedup_low:.2f}, {own.speedup_high:.2f}]"


def _accuracy(record: CompressRecord, points: Sequence[CompressedPoint]) -> list[_Column]:
    name = record.dense.reference.set
    columns: list[_Column] = [
        (escape(name), _changes([(point.reference.accuracy, point.differences.get(name)) for point in points]))
    ]
    if record.dense.shifts:
        cells = [(point.shifts_mean, point.differences.get(SHIFTS)) for point in points]
        columns.append(("mean of shifts", _changes(cells)))
    return columns


def _changes(cells: Sequence[tuple[float, Interval | None]]) -> list[str]:
    """Accuracy and change in one cell each, the parts below each other."""
    changes = [DASH if change is None else f"{in_points(change.estimate)} {_range(change)}" for _, change in cells]
    width = max(map(len, changes))
    return [f"{100 * accuracy:.1f} {change:>{width}}" for (accuracy, _), change in zip(cells, changes, strict=True)]


def _range(interval: Interval) -> str:
    return f"[{in_points(interval.low)}, {in_points(interval.high)}]"


def _robustness(points: Sequence[CompressedPoint]) -> list[_Column]:
    if not any(point.robustness for point in points):
        return []
    found = [point.robustness.mean if point.robustness else None for point in points]
    return [
        ("ER", [_er(er) for er in found]),
        ("standard", [DASH if er is None or er.prediction is None else _range(er.prediction) for er in found]),
    ]


def _er(er: ShiftRobustness | None) -> str:
    if er is None:
        return DASH
    words = f"{in_points(er.estimate)}{EXTRAPOLATED if er.extrapolated else ''}"
    return words if er.interval is None else f"{words} {_range(er.interval)}"


def _each_shift(points: Sequence[CompressedPoint]) -> list[_Column]:
    names = [row.set for row in points[0].shifts]
    if len(names) < 2:
        return []
    return [
        (escape(name), [f"{100 * point.shifts[k].accuracy:.1f}" for point in points]) for k, name in enumerate(names)
    ]


def _print_folders(record: CompressRecord, folder: Path, console: Console) -> None:
    console.print(f"Everything: [bold]{escape(str(folder))}[/bold] ({RESULTS})", highlight=False, soft_wrap=True)
    folders = [point.folder for point in record.points if point.folder is not None]
    if folders:
        words = f"Networks there, which evaluate, probe and prune take as --model: {', '.join(folders)}"
        console.print(words, highlight=False, markup=False)
