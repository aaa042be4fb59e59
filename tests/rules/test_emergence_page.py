"""`docs/emergence.md` says what its table says: every row of its tables is computed again from the committed points."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_robust.report.emergence_onset import BEYOND
from lightning_robust.report.emergence_shown import shown_figures
from lightning_robust.report.emergence_summary import summarised
from lightning_robust.report.emergence_table import thousands
from lightning_robust.results import DataDescription, collect_provenance
from lightning_robust.results.emergence_record import EmergencePoint, EmergenceRecord, EmergenceRun

DOCS = Path(__file__).parents[2] / "docs"
VARIANTS = ("contrastive_broad", "contrastive_reference", "supervised_broad", "supervised_reference")


def committed_record(path=DOCS / "emergence" / "emergence.csv"):
    """The comparison as its CSV has it, summed up anew."""
    points = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            figures = {
                tag: float(value) if value else math.nan
                for tag, value in row.items()
                if tag not in ("variant", "seed", "step", "images")
            }
            point = EmergencePoint(step=int(row["step"]), images=int(row["images"]), figures=figures)
            points.setdefault((row["variant"], int(row["seed"])), []).append(point)
    runs = tuple(
        EmergenceRun(variant=v, seed=s, folder="", reference="reference", checkpoint=None, points=tuple(found))
        for (v, s), found in sorted(points.items())
    )
    empty = EmergenceRecord(
        provenance=collect_provenance(),
        seeds=tuple(sorted({run.seed for run in runs})),
        data=DataDescription(dataset="", protocol="", images={}),
        baseline=None,
        conventions=(),
        runs=runs,
    )
    return summarised(replace(empty))


def last_rows(record):
    """Means at the last point with half a 95 % t-interval, a row for each figure."""
    found = {(one.figure, one.variant): one for one in record.finals}
    for figure in shown_figures(record.runs):
        cells = [found[figure.tag, variant] for variant in VARIANTS]
        yield row(figure.words, [f"{figure.text(cell.mean)} ± {figure.text(cell.half_width)}" for cell in cells])


def onset_rows(record):
    """Half-rises: mean over the seeds and their range, in images."""
    found = {(one.figure, one.variant): one for one in record.onsets}
    words = {figure.tag: figure.words for figure in shown_figures(record.runs)} | {BEYOND: "beyond a standard model"}
    for tag, name in words.items():
        yield row(name, [rise(found[tag, variant]) for variant in VARIANTS])


def rise(onset):
    known = [value for value in onset.half_rise if not math.isnan(value)]
    if not known:
        return "never" if onset.figure == BEYOND or onset.clear else "–"
    arrow = "↓ " if onset.figure != BEYOND and onset.change < 0 else "↑ "
    text = arrow + thousands(sum(known) / len(known))
    if min(known) < max(known):
        text += f" ({thousands(min(known))}–{thousands(max(known))})"
    some = "" if len(known) == len(onset.half_rise) else f", {len(known)} of {len(onset.half_rise)}"
    return text + some + (" †" if onset.extrapolated else "")


def row(name, cells):
    return f"| {name} | " + " | ".join(cells) + " |"


@pytest.fixture(scope="module")
def record():
    return committed_record()


def test_four_variants_and_three_seeds_are_there(record):
    assert tuple(dict.fromkeys(run.variant for run in record.runs)) == VARIANTS
    assert record.seeds == (0, 1, 2)
    assert {len(run.points) for run in record.runs} == {24}
    assert {run.points[-1].images for run in record.runs} == {307_200}


@pytest.mark.parametrize("rows", [last_rows, onset_rows])
def test_every_row_of_the_tables_is_that_of_the_points(record, rows):
    page = (DOCS / "emergence.md").read_text(encoding="utf-8").splitlines()
    missing = [one for one in rows(record) if one not in page]
    assert not missing, "\n".join(missing)
