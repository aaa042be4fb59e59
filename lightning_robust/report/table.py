"""The table that ends a run: what finetuning did to reference, shifts and signatures along the Wise-FT path."""

import math
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_robust.report.headline import Headline, headline
from lightning_robust.results import AlphaRow, Interval, RunRecord

_DASH = "–"


def print_run(record: RunRecord, folder: Path, console: Console) -> None:
    """Print a run's table, what was chosen and how sure that is, and where everything lies.

    Args:
        record: The run.
        folder: Where its files are.
        console: Where to print.
    """
    if record.wise_ft:
        console.print()
        console.print(_table(record))
        for line in _sentences(record):
            console.print(line, highlight=False)
    console.print(f"\nResults and curves: [bold]{folder}[/bold]", highlight=False, soft_wrap=True)
    console.print(f"Look at the curves:  tensorboard --logdir {folder}", highlight=False, soft_wrap=True)


def _table(record: RunRecord) -> Table:
    head = headline(record.wise_ft[0].signatures)
    table = Table(title="The path from zero-shot (α = 0) to finetuned (α = 1), test images", title_justify="left")
    table.add_column("α", justify="right", no_wrap=True)
    for name in ("ref.", *record.wise_ft[0].shifts, "mean of shifts"):
        table.add_column(name, justify="right")
    for name in ("kurtosis", "importance raw", "centred", "concepts"):
        table.add_column(name, justify="right")
    best = max((row.shifts_mean for row in record.wise_ft), default=math.nan)
    for row in record.wise_ft:
        star = record.choice is not None and row.alpha == record.choice.alpha_star
        mean = Text(f"{100 * row.shifts_mean:.1f}", style="bold green" if row.shifts_mean == best else "")
        table.add_row(
            f"{'α* ' if star else ''}{row.alpha:g}",
            f"{100 * row.reference:.1f}",
            *(f"{100 * accuracy:.1f}" for accuracy in row.shifts.values()),
            mean,
            *_signatures(row.signatures, head),
            style="bold" if star else "",
        )
    untrained = record.reference_lines.get("untrained", {})
    if untrained:
        table.add_section()
        blanks = [_DASH] * (2 + len(record.wise_ft[0].shifts))
        table.add_row("untrained", *blanks, *_signatures(untrained, head), style="dim")
    return table


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
    lines = [
        "Accuracy in %. Kurtosis: mean over images, a Gaussian gives 3. Importance: largest over median direction of "
        "the head. Concepts: unique at AP ≥ 0.9 in singular vectors (mean best AP); the paper's revision withdraws "
        "their number as a sign of robustness.",
        f"Finetuning: reference {_change(before, after, 'reference')}, "
        f"mean of the shifts {_change(before, after, 'shifts_mean')}.",
    ]
    if record.choice is not None:
        lines.append(record.choice.sentence)
        for name, interval in record.intervals.items():
            lines.append(f"  {name}: {_points(interval)}")
    return lines


def _change(before: AlphaRow, after: AlphaRow, name: str) -> str:
    first, second = getattr(before, name), getattr(after, name)
    return f"{100 * first:.1f} → {100 * second:.1f}"


def _points(interval: Interval) -> str:
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.estimate:+.1f} points [{low:+.1f}, {high:+.1f}], {interval.level:.0%} paired bootstrap"
