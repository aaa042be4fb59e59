"""The table of a probe over the step checkpoints of a run: a row for each step."""

import math
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightning_robust.report.cells import DASH, new_table
from lightning_robust.results.steps_record import Agreement, ProbedStep, StepsRecord

__all__ = ["print_steps"]

#: Titles with the tag of a figure, `{}` for h, and its format.
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "kurtosis": ("kurtosis/{}", "{:.2f}"),
    "outliers": ("outliers/{}/features", "{:.0f}"),
    "RankMe": ("spectrum/{}/rankme", "{:.1f}"),
    "raw": ("importance/{}/raw/max_over_median", "{:.1f}"),
    "priv.": ("importance/{}/raw/privileged", "{:.0f}"),
    "centred": ("importance/{}/centred/max_over_median", "{:.1f}"),
    "priv. ": ("importance/{}/centred/privileged", "{:.0f}"),
    "concepts": ("concepts/{}/singular_vectors/mean_best_ap", "{:.3f}"),
}
_NOTES = {
    "kurtosis": "kurtosis: mean over images, a Gaussian gives 3.",
    "outliers": "outliers: features with |z| > 6 on 6 % of the images.",
    "RankMe": "RankMe: effective rank of E[hhᵀ].",
    "raw": "raw, centred: importance of the head's directions, the largest over the median one; priv.: privileged "
    "ones, above 10 × the median.",
    "concepts": "concepts: mean best AP of the head's singular vectors (of other directions: in the picture).",
}
#: Apart by more than that, two figures differ by more than rounding.
_ROUNDING = 1e-3


def print_steps(record: StepsRecord, folder: Path, console: Console) -> None:
    """Print what `probe` found over steps.

    Args:
        record: The run.
        folder: Where the files are.
        console: Where to print.
    """
    steps = [point.step for point in record.points]
    count = f"{len(steps)} steps, {steps[0]:,} to {steps[-1]:,}" if len(steps) > 1 else f"step {steps[0]:,}"
    title = f"{record.run} · {count} · {record.parameters / 1e6:.2f} M parameters · {record.origin}"
    console.print(f"\n[bold]{escape(title)}[/bold]", highlight=False)
    images = ", and ".join(f"{n:,} images of {name}" for name, n in record.data.images.items())
    console.print(f"Measured on {images}.", style="dim", highlight=False, markup=False)
    if not record.classes:
        console.print("No head, so no importance: a CLIP gets one from class names, --classes FILE.", style="dim")
    shown = _shown(record)
    if shown:
        console.print(f"\n[bold]h, {escape(record.representation)}, step by step[/bold]", highlight=False)
        console.print(_table(record, shown))
        console.print(" ".join(note for title, note in _NOTES.items() if title in shown), highlight=False, markup=False)
    for line in _left_out(record):
        console.print(line, style="bold red", highlight=False, markup=False)
    if record.agreement is not None:
        far = record.agreement.largest > _ROUNDING
        console.print(_agreement(record.agreement), style="bold red" if far else "", highlight=False, markup=False)
    place, layers = escape(str(folder)), len(record.layers)
    others = f"Every figure of {layers} layers" if layers > 1 else "Every figure"
    console.print(f"\n{others}, and the picture: [bold]{place}[/bold]", highlight=False, soft_wrap=True)


def _shown(record: StepsRecord) -> dict[str, tuple[str, str]]:
    """The columns of which there is a figure at some step."""
    h = record.representation
    found = {title: (tag.format(h), form) for title, (tag, form) in _COLUMNS.items()}
    return {
        title: (tag, form)
        for title, (tag, form) in found.items()
        if any(not math.isnan(point.figures.get(tag, math.nan)) for point in record.points)
    }


def _table(record: StepsRecord, shown: Mapping[str, tuple[str, str]]) -> Table:
    table = new_table("step", *shown, left=0)
    for point in record.points:
        table.add_row(f"{point.step}", *(_cell(point, tag, form) for tag, form in shown.values()))
    return table


def _cell(point: ProbedStep, tag: str, form: str) -> str:
    value = point.figures.get(tag, math.nan)
    return DASH if math.isnan(value) else form.format(value)


def _left_out(record: StepsRecord) -> list[str]:
    """A sentence for each layer with images whose features are not finite at some step."""
    lines = []
    for layer in record.layers:
        start = f"not_finite/{layer.name}/"
        steps = [p.step for p in record.points if any(n for tag, n in p.figures.items() if tag.startswith(start))]
        if steps:
            listed = f"{', '.join(map(str, steps[:5]))}{' …' if len(steps) > 5 else ''}"
            lines.append(f"{layer.name}: images left out at step {listed}: features not finite")
    return lines


def _agreement(found: Agreement) -> str:
    compared = f"{found.figures:,} figures at {found.steps} steps that the run's signatures.csv has too"
    if found.largest == 0.0:
        return f"All {compared} are the same to the last digit."
    apart = "not defined in one of both" if math.isinf(found.largest) else f"{found.largest:.1e} apart, relatively"
    return f"Of {compared}, the two that differ most are {apart}: {found.tag} at step {found.step}."
