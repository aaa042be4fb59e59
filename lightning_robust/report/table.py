"""The table that ends a run: what finetuning did to reference, shifts and signatures along the Wise-FT path."""

import math
from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightning_robust.report.headline import Headline, headline
from lightning_robust.results import AlphaRow, Interval, RunRecord
from lightning_robust.results.effective_robustness import ShiftRobustness

_DASH = "–"
_SIGNATURES = {
    "kurtosis": "kurtosis: of h, a Gaussian gives 3.",
    "importance": "importance: largest over median direction of the head; centred: without its rows' mean.",
    "concepts": "concepts: unique at AP ≥ 0.9 in its singular vectors (mean best AP); the paper's revision withdraws "
    "it as a sign of robustness.",
}
_MARK = "†"
#: Columns from which accuracies and signatures stand side by side, without effective robustness, and what that needs.
_WIDE, _ROBUSTNESS = 112, 26


def print_run(record: RunRecord, folder: Path, console: Console) -> None:
    """Print a run's table, what was chosen and how sure that is, and where everything lies.

    Args:
        record: The run.
        folder: Where its files are.
        console: Where to print.
    """
    if record.wise_ft:
        parts = _parts(record, console.width)
        start = "Before training" if record.start is None else f"From {escape(record.start)}"
        title = f"{start} (α = 0) to finetuned (α = 1), test images"
        console.print(f"\n[bold]{title}[/bold]", highlight=False)
        for columns in parts:
            console.print(_table(record, columns))
        for line in _sentences(record):
            console.print(line, highlight=False, markup=False)
        if record.intervals:
            console.print(_differences(record))
    place = escape(str(folder))
    console.print(f"\nResults and curves: [bold]{place}[/bold]", highlight=False, soft_wrap=True)
    console.print(f"Look at the curves:  tensorboard --logdir {place}", highlight=False, soft_wrap=True)


def _parts(record: RunRecord, width: int) -> list[dict[str, list[str]]]:
    """The columns, in one table or two, whichever fit."""
    accuracies, robustness, signatures = _accuracy_columns(record), _robustness(record), _signature_columns(record)
    room = width - (_ROBUSTNESS if robustness else 0)
    if room >= _WIDE:
        return [accuracies | robustness | signatures]
    return [part for part in (accuracies, robustness | signatures) if part]


def _table(record: RunRecord, columns: Mapping[str, list[str]]) -> Table:
    """A row for each α, the chosen one marked, and one for the untrained encoder where it was measured."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("α", justify="right")
    for name in columns:
        table.add_column(name, justify="right")
    labels = [f"{'*' if _is_star(record, row) else ''}{row.alpha:g}" for row in record.wise_ft]
    styles = ["bold" if _is_star(record, row) else "" for row in record.wise_ft]
    if any(len(column) > len(labels) for column in columns.values()):
        labels, styles = [*labels, "untrained"], [*styles, "dim"]
    for k, (label, style) in enumerate(zip(labels, styles, strict=True)):
        cells = [column[k] if k < len(column) else _DASH for column in columns.values()]
        table.add_row(label, *cells, style=style, end_section=k == len(record.wise_ft) - 1)
    return table


def _is_star(record: RunRecord, row: AlphaRow) -> bool:
    return record.choice is not None and row.alpha == record.choice.alpha_star


def _accuracy_columns(record: RunRecord) -> dict[str, list[str]]:
    rows = record.wise_ft
    columns = {"ref.": [f"{100 * row.reference:.1f}" for row in rows]}
    if not rows[0].shifts:
        return columns
    best = max(row.shifts_mean for row in rows)
    columns |= {escape(name): [f"{100 * row.shifts[name]:.1f}" for row in rows] for name in rows[0].shifts}
    means = [f"{100 * row.shifts_mean:.1f}" for row in rows]
    columns["shifts"] = [
        f"[bold green]{mean}[/]" if row.shifts_mean == best else mean for mean, row in zip(means, rows, strict=True)
    ]
    return columns


def _robustness(record: RunRecord) -> dict[str, list[str]]:
    """Mean effective robustness with its interval, in points; no column where no α has it."""
    found = [row.effective_robustness for row in record.wise_ft]
    if not any(found):
        return {}
    return {"ER [95 %]": [_DASH if er is None else _robustness_cell(er.mean) for er in found]}


def _robustness_cell(mean: ShiftRobustness) -> str:
    estimate = f"{100 * mean.estimate:+.1f}{_MARK if mean.extrapolated else ''}"
    return estimate if mean.interval is None else f"{estimate} {_range(mean.interval)}"


def _signature_columns(record: RunRecord) -> dict[str, list[str]]:
    head = headline(record.wise_ft[0].signatures)
    lines = [row.signatures for row in record.wise_ft]
    if untrained := record.reference_lines.get("untrained"):
        lines.append(untrained)
    cells = [_signatures(figures, head) for figures in lines]
    measured = (head.kurtosis, head.importance_raw, head.importance_centred, head.concepts)
    names = ("kurtosis", "importance", "centred", "concepts")
    return {name: [cell[k] for cell in cells] for k, name in enumerate(names) if measured[k] is not None}


def _signatures(figures: Mapping[str, float], head: Headline) -> tuple[str, str, str, str]:
    concepts = _number(figures, head.concepts, "{:.0f}")
    best = _number(figures, head.concepts_best_ap, "{:.2f}")
    return (
        _number(figures, head.kurtosis, "{:.2f}"),
        _number(figures, head.importance_raw, "{:.1f}"),
        _number(figures, head.importance_centred, "{:.1f}"),
        concepts if best == _DASH else f"{concepts} ({best})",
    )


def _number(figures: Mapping[str, float], tag: str | None, form: str) -> str:
    value = figures.get(tag, math.nan) if tag is not None else math.nan
    return _DASH if math.isnan(value) else form.format(value)


def _sentences(record: RunRecord) -> list[str]:
    before, after = record.wise_ft[0], record.wise_ft[-1]
    shifts, columns = bool(before.shifts), _signature_columns(record)
    said = ["ref.: reference"] + (["shifts: mean of the shifts"] if shifts else []) + ["accuracies in %"]
    lines = [" ".join(["; ".join(said) + ".", *(text for name, text in _SIGNATURES.items() if name in columns)])]
    change = f"Finetuning: reference {_change(before, after, 'reference')}"
    lines += [change + (f", mean of the shifts {_change(before, after, 'shifts_mean')}." if shifts else ".")]
    lines += _robustness_sentences(record)
    if record.choice is not None:
        lines.append(f"* {record.choice.sentence}")
    return lines


def _robustness_sentences(record: RunRecord) -> list[str]:
    """What effective robustness is measured from, and whether any α is beyond a standard model."""
    means = {row.alpha: row.effective_robustness.mean for row in record.wise_ft if row.effective_robustness is not None}
    judged = {alpha: mean.prediction for alpha, mean in means.items() if mean.prediction is not None}
    if not means:
        return []
    lines = [
        "ER: effective robustness in points, the mean over shifts of what accuracy is above the baseline's line, with "
        f"line and sampling error. Baseline {record.baseline}."
    ]
    beyond = [f"{alpha:g}" for alpha, interval in judged.items() if interval.low > 0]
    if judged:
        ends = [(alpha, judged[alpha]) for alpha in (min(judged), max(judged))]
        wide = " and ".join(f"{_range(interval)} at α = {alpha:g}" for alpha, interval in ends)
        lines.append(
            f"With the scatter of single standard models about their line the interval is {wide}; robust beyond a "
            f"standard model, all of it above 0: {'α = ' + ', '.join(beyond) if beyond else 'no α'}."
        )
    if any(mean.extrapolated for mean in means.values()):
        lines.append(f"{_MARK} an extrapolation: the reference accuracy lies outside that of the baseline's models.")
    return lines


def _change(before: AlphaRow, after: AlphaRow, name: str) -> str:
    first, second = getattr(before, name), getattr(after, name)
    return f"{100 * first:.1f} → {100 * second:.1f}"


def _differences(record: RunRecord) -> Table:
    """What finetuning, α = 0.5 and α* win or lose: a row for each pair of α's, a column for each kind of images."""
    told = {"α=1 − α=0": None}
    for alpha in (record.choice.alpha_fixed, record.choice.alpha_star) if record.choice is not None else ():
        # α* at an end is told by the pair of the ends already
        told |= {f"α={alpha:g} − α={end}": None for end in (0, 1) if alpha not in (0, 1)}
    columns = list(dict.fromkeys(name.partition(": ")[0] for name in record.intervals))
    level = next(iter(record.intervals.values())).level
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(f"points, {level:.0%} paired bootstrap")
    for column in columns:
        table.add_column(escape(column), justify="right")
    for pair in told:
        found = [record.intervals.get(f"{column}: {pair}") for column in columns]
        if any(found):
            table.add_row(pair, *(_DASH if interval is None else _points(interval) for interval in found))
    return table


def _points(interval: Interval) -> str:
    return f"{100 * interval.estimate:+.1f} {_range(interval)}"


def _range(interval: Interval) -> str:
    return f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
