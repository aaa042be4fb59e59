"""The tables of `probe`: one model, or several side by side."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightning_robust.report.cells import DASH, figure, new_table, representation
from lightning_robust.report.probe_confidence import CONFIDENCE_NOTE, confidence_table
from lightning_robust.report.probe_layers import OUTLIER_NOTE, OUTLIERS, SPECTRA, SPECTRUM_NOTE, layer_table
from lightning_robust.report.shorten import short_names
from lightning_robust.results import DirectionConcepts, ProbeRecord

CONCEPT_IMAGES = " (concepts)"
"""What the name of a concept set's images ends with in a record."""
_MOST_DIRECTIONS, _MOST_CONCEPTS = 6, 4
_HEADS = {
    "": "the head",
    "/random_head": "  random heads",
    "/random_rotation": "  random rotations",
    "/reduced_rank_regression": "  best truncation",
}
_BASES = ("singular_vectors", "neurons", "random_rotation")


def print_probe(records: Mapping[str, ProbeRecord], folder: Path, console: Console) -> None:
    """Print what `probe` found.

    Args:
        records: Models by the letter that stands for each in the tables; one needs none.
        folder: Where the files are.
        console: Where to print.
    """
    images = {_images(record) for record in records.values()}
    for letter, record in records.items():
        console.print(f"\n[bold]{escape(_title(letter, record))}[/bold]", highlight=False)
        if len(images) > 1:
            console.print(_images(record), style="dim", highlight=False, markup=False)
        if not record.model.classes:
            console.print("No head, so no importance: a CLIP gets one from class names, --classes FILE.", style="dim")
    if len(images) == 1:
        console.print(next(iter(images)), style="dim", highlight=False, markup=False)
    for line in _differences(list(records.values())):
        console.print(f"[bold red]{line}[/bold red]", highlight=False)
    for title, table, note in (
        ("Outliers, layer by layer", layer_table(records, OUTLIERS), OUTLIER_NOTE),
        ("Spectra of the features", layer_table(records, SPECTRA, forms=True), SPECTRUM_NOTE),
        ("Importance of the head's directions", _importance_table(records), _importance_note(records.values())),
        ("Confidence of the answers", confidence_table(records), CONFIDENCE_NOTE),
        ("Concepts of single directions", _concept_table(records), _concept_note(records.values())),
        ("Concepts of the most important directions", _direction_table(records), _direction_note(records)),
        ("Weights", _weight_table(records), "Median and range over the matrices, each of which stands in weights.csv."),
    ):
        if table.row_count:
            console.print(f"\n[bold]{title}[/bold]", highlight=False)
            console.print(table)
            console.print(note, highlight=False, markup=False)
    for letter, record in records.items():
        for line in _left_out(letter, record):
            console.print(line, style="bold red", highlight=False, markup=False)
    place = escape(str(folder))
    console.print(f"\nEvery figure, table and picture: [bold]{place}[/bold]", highlight=False, soft_wrap=True)


def _title(letter: str, record: ProbeRecord) -> str:
    start = f"{letter}: " if letter else ""
    return f"{start}{record.model.name} · {record.model.parameters / 1e6:.2f} M parameters · {record.model.origin}"


def _images(record: ProbeRecord) -> str:
    return ", and ".join(f"{n:,} images of {name}" for name, n in record.data.images.items())


def _differences(records: Sequence[ProbeRecord]) -> list[str]:
    """What was not the same for all models and should have been."""
    images = {tuple((n, k) for n, k in r.data.images.items() if not n.endswith(CONCEPT_IMAGES)) for r in records}
    concepts = {tuple((n, k) for n, k in r.data.images.items() if n.endswith(CONCEPT_IMAGES)) for r in records} - {()}
    seeds = {tuple(record.seeds.items()) for record in records}
    told = {
        "They were measured on different images.": images,
        "They were measured on different concept sets.": concepts,
        "Their random heads, rotations and permutations have different seeds.": seeds,
    }
    return [sentence for sentence, found in told.items() if len(found) > 1]


def _left_out(letter: str, record: ProbeRecord) -> list[str]:
    """A sentence for each layer with images whose features are not finite."""
    short, lines = short_names([layer.name for layer in record.layers]), []
    for layer in record.layers:
        counts = [n for tag, n in record.scalars.items() if tag.startswith(f"not_finite/{layer.name}/")]
        if lost := max(counts, default=0.0):
            of = next(iter(record.data.images.values()))
            start = f"{letter}: " if letter else ""
            lines.append(f"{start}{short[layer.name]}: {lost:.0f} of {of:,} images left out: features not finite")
    return lines


def _importance_table(records: Mapping[str, ProbeRecord]) -> Table:
    several = len(records) > 1
    lead = ["head", *([""] if several else [])]
    table = new_table(*lead, "raw", "privileged", "90 %", "centred", "privileged", "90 %", left=len(lead))
    for control, words in _HEADS.items():
        label = words
        for letter, record in records.items():
            cells = [cell for form in ("raw", "centred") for cell in _importance_cells(record, form, control)]
            if set(cells) != {DASH}:
                table.add_row(label, *([letter] if several else []), *cells, style="dim" if control else "")
                label = ""
    return table


def _importance_cells(record: ProbeRecord, form: str, control: str) -> list[str]:
    tag = f"importance/{representation(record)}/{form}{control}"
    ratio = figure(record, f"{tag}/max_over_median", "{:.1f}")
    # without a ratio nothing could be privileged
    privileged = DASH if ratio == DASH else figure(record, f"{tag}/privileged", "{:g}")
    return [ratio, privileged, figure(record, f"{tag}/directions_for_90", "{:g}")]


def _importance_note(records: Iterable[ProbeRecord]) -> str:
    ranks = {
        len(r.curves[tag]) for r in records if (tag := f"importance/{representation(r)}/raw/directions") in r.curves
    }
    of = " and ".join(str(rank) for rank in sorted(ranks))
    return (
        f"importance: σ · mean |cos(v, h)| over the {of} right singular vectors. raw: the largest over the median one; "
        "privileged: directions above 10 × the median, which may never be with few classes; 90 %: how many of the most "
        "important keep 90 % of the logits' second moment. centred: the same without the mean of the head's rows: "
        "predictions are the same, and only what it shows tells classes apart. Controls, means of 5: random heads, the "
        "head in random rotations of h; best truncation: reduced-rank regression."
    )


def _concept_table(records: Mapping[str, ProbeRecord]) -> Table:
    several = len(records) > 1
    levels = sorted({tag.rpartition("_")[2] for r in records.values() for tag in r.scalars if "/unique_" in tag})
    lead = ["unique concepts at AP ≥", *([""] if several else [])]
    table = new_table(*lead, *levels, "mean best AP", "polysem.", "dir.", left=len(lead))
    for basis in _BASES:
        for control in ("", "/permuted"):
            label = "  labels permuted" if control else basis.replace("_", " ")
            for letter, record in records.items():
                tag = f"concepts/{representation(record)}/{basis}{control}"
                if f"{tag}/mean_best_ap" not in record.scalars:
                    continue
                cells = [figure(record, f"{tag}/unique_{level}", "{:.0f}") for level in levels]
                cells += [figure(record, f"{tag}/mean_best_ap", "{:.2f}")]
                cells += [figure(record, f"{tag}/polysemantic_share_0.5", "{:.0%}")]
                cells += ["" if control else figure(record, f"{tag}/directions", "{:.0f}")]
                style = "dim" if control or basis == "random_rotation" else ""
                table.add_row(label, *([letter] if several else []), *cells, style=style)
                label = ""
    return table


def _concept_note(records: Iterable[ProbeRecord]) -> str:
    eligible = [record.scalars.get(f"concepts/{representation(record)}/eligible", math.nan) for record in records]
    counted = " and ".join(sorted({f"{n:.0f}" for n in eligible if not math.isnan(n)}))
    return (
        f"Unique concepts of {counted} eligible ones, v and −v both scored; polysem.: of the directions with a "
        "concept at AP ≥ 0.5, those with several; dir.: directions, as many in each basis (neurons: a seeded draw). "
        "The paper's revision withdraws the number as a sign of robustness."
    )


def _direction_table(records: Mapping[str, ProbeRecord]) -> Table:
    lists = {letter: record.directions for letter, record in records.items() if record.directions}
    table = new_table("", *(f"{letter} " if letter else "direction (importance): concepts" for letter in lists), left=9)
    for rank in range(min(_MOST_DIRECTIONS, max((len(found) for found in lists.values()), default=0))):
        cells = [_concepts(found[rank]) if rank < len(found) else DASH for found in lists.values()]
        table.add_row(f"{rank + 1}.", *cells)
    return table


def _concepts(found: DirectionConcepts) -> str:
    shown = found.concepts[:_MOST_CONCEPTS]
    listed = [f"{'−' if e.sign < 0 else ''}{escape(e.concept)} {e.average_precision:.2f}" for e in shown]
    mark = "*" if found.privileged else ""
    return f"v{found.direction + 1}{mark} ({_share(found.importance)}): {', '.join(listed) or DASH}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if value >= 0.001 else f"{100 * value:.2g} %"


def _direction_note(records: Mapping[str, ProbeRecord]) -> str:
    some = any(found.privileged for record in records.values() for found in record.directions)
    star = "* privileged by the rule. " if some else "None is privileged by the rule. "
    note = (
        f"{star}In brackets σ · mean |cos| over Σσ. Listed: average precision of at least 0.5, − where −v has it; more "
        "directions, concepts and their prevalences in concepts.csv."
    )
    names = {
        letter: {entry.concept for found in record.directions for entry in found.concepts}
        for letter, record in records.items()
        if record.directions
    }
    if len(names) < 2:
        return note
    shared = set[str].intersection(*names.values())
    alone = []
    for letter, own in names.items():
        others = set[str]().union(*(found for other, found in names.items() if other != letter))
        alone.append(f"{letter} alone: {_joined(own - others)}")
    most = max(len(record.directions) for record in records.values())
    return f"{note} Of the {most} most important directions, listed in all: {len(shared)}; " + "; ".join(alone) + "."


def _joined(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _weight_table(records: Mapping[str, ProbeRecord]) -> Table:
    several = len(records) > 1
    table = new_table(
        *([""] if several else []), "matrices", "stable rank", "effective rank", "alpha", left=1 if several else 0
    )
    for letter, record in records.items():
        columns = [_over_weights(record, name) for name in ("stable_rank", "effective_rank", "alpha")]
        if columns[0]:
            cells = [_spread(values) for values in columns]
            table.add_row(*([letter] if several else []), str(len(columns[0])), *cells)
    return table


def _over_weights(record: ProbeRecord, name: str) -> list[float]:
    return [value for tag, value in record.scalars.items() if tag.startswith("weights/") and tag.endswith(f"/{name}")]


def _spread(values: Sequence[float]) -> str:
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return DASH
    return f"{statistics.median(known):.1f} ({known[0]:.1f} – {known[-1]:.1f})"
