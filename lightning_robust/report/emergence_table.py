"""The tables of a comparison of pretrainings: last values, onsets, and rank correlations with robustness."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_robust.report.cells import DASH, new_table
from lightning_robust.report.emergence_onset import BEYOND
from lightning_robust.report.emergence_shown import ShownFigure, shown_figures, variant_words
from lightning_robust.report.emergence_summary import LAST_POINTS
from lightning_robust.results.emergence_record import EmergenceCorrelation, EmergenceOnset, EmergenceRecord

__all__ = ["emergence_rows", "print_emergence", "thousands"]

_WIDE = 132  # columns from which ranges over the seeds are told
_NEVER = "not within this run"
_NO_CHANGE = "no clear change"


def emergence_rows(record: EmergenceRecord) -> list[dict[str, str | int | float | None]]:
    """Every point as a row with all its figures, for `results.write_table`.

    Args:
        record: The comparison.
    """
    rows: list[dict[str, str | int | float | None]] = []
    for run in record.runs:
        for point in run.points:
            rows.append({"variant": run.variant, "seed": run.seed, "step": point.step, "images": point.images})
            rows[-1] |= {tag: None if math.isnan(value) else value for tag, value in point.figures.items()}
    return rows


def print_emergence(record: EmergenceRecord, folder: Path, console: Console) -> None:
    """Print what the comparison found.

    Args:
        record: Summarised, see `emergence_summary.summarised`.
        folder: Where the files are.
        console: Where to print.
    """
    shown = shown_figures(record.runs)
    wide = console.width >= _WIDE
    seeds = ", ".join(str(seed) for seed in record.seeds)
    count = f"seed {seeds}" if len(record.seeds) == 1 else f"seeds {seeds}"
    console.print(f"\n[bold]Pretraining, watched[/bold]: {count}; {_span(record)}", highlight=False)
    for title, rows, note in (
        ("At the last point", _finals(record, shown), "Mean over the seeds ± half a 95 % t-interval."),
        ("Half-rise, images seen", _onsets(record, shown, wide), _onset_note(record)),
        ("Leaves its untrained value, images seen", _leaves(record, shown), _LEAVES_NOTE),
        ("Rank correlation with effective robustness", _correlations(record, shown, wide), _CORRELATION_NOTE),
    ):
        if not rows:
            continue
        variants = [variant_words(name).replace(", ", ",\n") for name in record.variants]
        last = [LAST_POINTS] if rows and len(next(iter(rows.values()))) > len(variants) else []
        table = new_table("", *variants, *last, left=1)
        for words, cells in rows.items():
            table.add_row(words, *cells)
        console.print(f"\n[bold]{title}[/bold]", highlight=False)
        console.print(table)
        console.print(note, highlight=False, markup=False)
    for name, why in record.missing.items():
        console.print(f"[bold red]{escape(name)} is missing[/bold red]: {escape(why)}", highlight=False)
    console.print(
        f"\nEvery point, and the pictures: [bold]{escape(str(folder))}[/bold]", highlight=False, soft_wrap=True
    )


def thousands(images: float) -> str:
    """A number of images, short.

    Example:
        >>> thousands(256), thousands(11_584), thousands(307_200), thousands(10_000)
        ('256', '11.6k', '307k', '10k')
    """
    if images < 1000:
        return f"{images:.0f}"
    return f"{images / 1000:.1f}".removesuffix(".0") + "k" if images < 99_950 else f"{images / 1000:.0f}k"


def _span(record: EmergenceRecord) -> str:
    points = [len(run.points) for run in record.runs]
    images = max(run.points[-1].images for run in record.runs)
    low, high = min(points), max(points)
    return f"{low if low == high else f'{low} to {high}'} points of each run, up to {images:,} images seen"


def _finals(record: EmergenceRecord, shown: Sequence[ShownFigure]) -> dict[str, list[str]]:
    found = {(final.figure, final.variant): final for final in record.finals}
    rows = {}
    for figure in shown:
        cells = []
        for variant in record.variants:
            final = found[figure.tag, variant]
            half = "" if math.isnan(final.half_width) else f" ± {figure.text(final.half_width)}"
            cells.append(figure.text(final.mean) + half)
        rows[figure.words] = cells
    return rows


def _onsets(record: EmergenceRecord, shown: Sequence[ShownFigure], wide: bool) -> dict[str, list[str]]:
    words = {figure.tag: figure.words for figure in shown} | {BEYOND: "beyond a standard model"}
    found = {(one.figure, one.variant): one for one in record.onsets}
    kept = {tag: name for tag, name in words.items() if any(figure == tag for figure, _ in found)}
    return {name: [_rise(found[tag, variant], wide) for variant in record.variants] for tag, name in kept.items()}


def _rise(onset: EmergenceOnset, wide: bool) -> str:
    """Mean and range over the seeds; how many of them where it is not all."""
    known = [value for value in onset.half_rise if not math.isnan(value)]
    if not known:
        return _NEVER if onset.figure == BEYOND or onset.clear else _NO_CHANGE
    falls = onset.figure != BEYOND and onset.change < 0
    text = ("↓ " if falls else "↑ ") + thousands(math.fsum(known) / len(known))
    if wide and min(known) < max(known):
        text += f" ({thousands(min(known))}–{thousands(max(known))})"
    some = "" if len(known) == len(onset.half_rise) else f" {len(known)} of {len(onset.half_rise)} seeds"
    return text + some + (" †" if onset.extrapolated else "")


def _leaves(record: EmergenceRecord, shown: Sequence[ShownFigure]) -> dict[str, list[str]]:
    if len(record.seeds) < 2:
        return {}
    found = {(one.figure, one.variant): one.leaves for one in record.onsets}
    return {
        figure.words: [
            _NEVER if math.isnan(found[figure.tag, variant]) else thousands(found[figure.tag, variant])
            for variant in record.variants
        ]
        for figure in shown
    }


def _correlations(record: EmergenceRecord, shown: Sequence[ShownFigure], wide: bool) -> dict[str, list[str]]:
    found: Mapping[tuple[str, str], EmergenceCorrelation] = {(c.figure, c.variant): c for c in record.correlations}
    return {
        figure.words: [_rho(found[figure.tag, variant], wide) for variant in (*record.variants, LAST_POINTS)]
        for figure in shown
        if (figure.tag, LAST_POINTS) in found
    }


def _rho(found: EmergenceCorrelation, wide: bool) -> str:
    known = [value for value in found.values if not math.isnan(value)]
    if not known:
        return DASH
    mean = f"{math.fsum(known) / len(known):+.2f}"
    return f"{mean} ({min(known):+.2f} … {max(known):+.2f})" if wide and len(known) > 1 else mean


def _onset_note(record: EmergenceRecord) -> str:
    interval = "" if len(record.seeds) == 1 else f"; {_NO_CHANGE}: the 95 % t-interval of the change holds zero"
    lines = [
        "The first point from which on half of the change between step 0 and the last point stays passed: mean over "
        f"the seeds, and their range. ↑ a figure that rises, ↓ one that falls{interval}."
    ]
    if any(one.figure == BEYOND for one in record.onsets):
        lines.append(
            "Beyond a standard model: the first point from which on the interval with the scatter of standard models "
            "lies above zero, without extrapolation."
        )
    if any(one.extrapolated for one in record.onsets):
        lines.append("† effective robustness is an extrapolation there: few standard models are that inaccurate.")
    return " ".join(lines)


_LEAVES_NOTE = (
    "The first point from which on the 95 % t-interval over the seeds of the change since step 0 excludes zero, to the "
    "end; late for small changes, as the seeds are few."
)
_CORRELATION_NOTE = (
    "Spearman's, over the points of each run: mean and range over the seeds. The points of one run are not "
    "independent: whatever grows with training correlates, so it tests nothing. "
    f"{LAST_POINTS}: over the last points of all runs, which differ by variant more than by seed."
)
