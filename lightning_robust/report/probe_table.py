"""The tables of `probe`: one model, or several side by side."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_robust.report.shorten import short_names
from lightning_robust.results import DirectionConcepts, ProbeRecord

_DASH = "–"
_MOST_DIRECTIONS, _MOST_CONCEPTS = 6, 4
_OUTLIER_COLUMNS = {
    "kurtosis": ("kurtosis/{}", "{:.2f}"),
    "q95": ("kurtosis/{}/q95", "{:.2f}"),
    "÷ Gauss": ("kurtosis/{}/width_adjusted", "{:.2f}"),
    "outliers": ("outliers/{}/features", "{:.0f}"),
    "share": ("outliers/{}/share_of_norm", "{:.1%}"),
    "norm κ": ("outliers/{}/neuron_norm_kurtosis", "{:.2f}"),
    "massive": ("massive/{}/per_image", "{:.2f}"),
}
_SPECTRUM_COLUMNS = {
    "RankMe": ("spectrum/{}/rankme", "{:.1f}"),
    "cov. rank": ("spectrum/{}/covariance_effective_rank", "{:.1f}"),
    "particip.": ("spectrum/{}/participation_ratio", "{:.1f}"),
}
_OUTLIER_NOTE = (
    "kurtosis: mean over images, a Gaussian gives 3; q95: its 95 % quantile; ÷ Gauss: over that of a Gaussian as wide. "
    "outliers: features with |z| > 6 on 6 % of the images, – where the layer is too narrow; share: of the squared "
    "norm. norm κ: neuron-norm kurtosis. massive: massive activations per image."
)
_SPECTRUM_NOTE = "RankMe on E[hhᵀ]; cov. rank: the same formula on the covariance; particip.: (Σλ)² / Σλ²."
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
    images = {tuple(record.data.images.items()) for record in records.values()}
    for letter, record in records.items():
        console.print(f"\n[bold]{_title(letter, record)}[/bold]", highlight=False)
        if len(images) > 1:
            console.print(f"[dim]{_images(record)}[/dim]", highlight=False)
    if len(images) == 1:
        console.print(f"[dim]{_images(next(iter(records.values())))}[/dim]", highlight=False)
    else:
        console.print("[bold red]They were measured on different images.[/bold red]", highlight=False)
    for title, table, note in (
        ("Outliers, layer by layer", _layer_table(records, _OUTLIER_COLUMNS, {}), _OUTLIER_NOTE),
        ("Spectra of the features", _layer_table(records, _SPECTRUM_COLUMNS, _forms(records)), _SPECTRUM_NOTE),
        ("Importance of the head's directions", _importance_table(records), _importance_note(records.values())),
        ("Concepts of single directions", _concept_table(records), _concept_note(records.values())),
        ("Concepts of the most important directions", _direction_table(records), _direction_note(records)),
        ("Weights", _weight_table(records), "Median and range over the matrices; every one stands in weights.csv."),
    ):
        if table.row_count:
            console.print(f"\n[bold]{title}[/bold]", highlight=False)
            console.print(table)
            console.print(note, highlight=False, markup=False)
    for letter, record in records.items():
        for line in _left_out(letter, record):
            console.print(f"[bold red]{line}[/bold red]", highlight=False)
    console.print(f"\nEvery figure, table and picture: [bold]{folder}[/bold]", highlight=False, soft_wrap=True)


def _title(letter: str, record: ProbeRecord) -> str:
    start = f"{letter}: " if letter else ""
    return f"{start}{record.model.name} · {record.model.parameters / 1e6:.2f} M parameters · {record.model.origin}"


def _images(record: ProbeRecord) -> str:
    return ", and ".join(f"{n:,} images of {name}" for name, n in record.data.images.items())


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


def _new_table(*columns: str, left: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for k, column in enumerate(columns):
        # figures are never cut
        table.add_column(column, justify="left" if k < left else "right", no_wrap=k >= left)
    return table


def _forms(records: Mapping[str, ProbeRecord]) -> dict[str, str]:
    return {layer.name: layer.form for record in records.values() for layer in record.layers}


def _layer_table(
    records: Mapping[str, ProbeRecord], columns: Mapping[str, tuple[str, str]], forms: Mapping[str, str]
) -> Table:
    """A row for each layer, and for each model below it where there are several."""
    names = list(dict.fromkeys(layer.name for record in records.values() for layer in record.layers))
    short, several = short_names(names), len(records) > 1
    shown = {
        title: (tag, form)
        for title, (tag, form) in columns.items()
        if any(not math.isnan(r.scalars.get(tag.format(n), math.nan)) for r in records.values() for n in names)
    }
    lead = ["layer", *([""] if several else []), *(["measured"] if forms else [])]
    table = _new_table(*lead, *shown, left=len(lead))
    for name in names:
        having = [(letter, r) for letter, r in records.items() if any(layer.name == name for layer in r.layers)]
        for k, (letter, record) in enumerate(having):
            first = [short[name] if k == 0 else "", *([letter] if several else [])]
            first += [forms[name] if k == 0 else ""] if forms else []
            cells = [_figure(record, tag.format(name), form) for tag, form in shown.values()]
            table.add_row(*first, *cells, end_section=several and k == len(having) - 1)
    return table


def _importance_table(records: Mapping[str, ProbeRecord]) -> Table:
    several = len(records) > 1
    lead = ["head", *([""] if several else [])]
    table = _new_table(*lead, "raw", "privileged", "90 %", "centred", "privileged", "90 %", left=len(lead))
    for control, words in _HEADS.items():
        for k, (letter, record) in enumerate(records.items()):
            tags = [f"importance/{_h(record)}/{form}{control}" for form in ("raw", "centred")]
            cells = [
                _figure(record, f"{tag}/{name}", form)
                for tag in tags
                for name, form in (("max_over_median", "{:.1f}"), ("privileged", "{:g}"), ("directions_for_90", "{:g}"))
            ]
            if set(cells) != {_DASH}:
                style = "dim" if control else ""
                table.add_row(words if k == 0 else "", *([letter] if several else []), *cells, style=style)
    return table


def _importance_note(records: Iterable[ProbeRecord]) -> str:
    ranks = {len(r.curves[tag]) for r in records if (tag := f"importance/{_h(r)}/raw/directions") in r.curves}
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
    table = _new_table(*lead, *levels, "mean best AP", "polysem.", left=len(lead))
    for basis in _BASES:
        for control in ("", "/permuted"):
            for k, (letter, record) in enumerate(records.items()):
                tag = f"concepts/{_h(record)}/{basis}{control}"
                if f"{tag}/mean_best_ap" not in record.scalars:
                    continue
                words = "  labels permuted" if control else basis.replace("_", " ")
                cells = [_figure(record, f"{tag}/unique_{level}", "{:.0f}") for level in levels]
                cells += [_figure(record, f"{tag}/mean_best_ap", "{:.2f}")]
                cells += [_figure(record, f"{tag}/polysemantic_share_0.5", "{:.0%}")]
                style = "dim" if control or basis == "random_rotation" else ""
                table.add_row(words if k == 0 else "", *([letter] if several else []), *cells, style=style)
    return table


def _concept_note(records: Iterable[ProbeRecord]) -> str:
    eligible = [record.scalars.get(f"concepts/{_h(record)}/eligible", math.nan) for record in records]
    counted = " and ".join(sorted({f"{n:.0f}" for n in eligible if not math.isnan(n)}))
    return (
        f"Unique concepts of {counted} eligible ones, v and −v both scored; polysem.: of the directions with a "
        "concept at AP ≥ 0.5, those with several. The paper's revision withdraws the number as a sign of robustness."
    )


def _direction_table(records: Mapping[str, ProbeRecord]) -> Table:
    lists = {letter: record.directions for letter, record in records.items() if record.directions}
    table = _new_table(
        "", *(f"{letter} " if letter else "direction (importance): concepts" for letter in lists), left=9
    )
    for rank in range(min(_MOST_DIRECTIONS, max((len(found) for found in lists.values()), default=0))):
        cells = [_concepts(found[rank]) if rank < len(found) else _DASH for found in lists.values()]
        table.add_row(f"{rank + 1}.", *cells)
    return table


def _concepts(found: DirectionConcepts) -> str:
    listed = [f"{'−' if e.sign < 0 else ''}{e.concept} {e.average_precision:.2f}" for e in found.concepts]
    mark = "*" if found.privileged else ""
    return f"v{found.direction + 1}{mark} ({found.importance:.1%}): {', '.join(listed[:_MOST_CONCEPTS]) or _DASH}"


def _direction_note(records: Mapping[str, ProbeRecord]) -> str:
    some = any(found.privileged for record in records.values() for found in record.directions)
    star = "* privileged by the rule. " if some else "None is privileged by the rule. "
    note = f"{star}Average precision after each name; − where −v ranks it; prevalences in concepts.csv."
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
    return f"{note} Listed in all: {len(shared)}; " + "; ".join(alone) + "."


def _joined(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _weight_table(records: Mapping[str, ProbeRecord]) -> Table:
    several = len(records) > 1
    table = _new_table(
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
        return _DASH
    return f"{known[len(known) // 2]:.1f} ({known[0]:.1f} – {known[-1]:.1f})"


def _h(record: ProbeRecord) -> str:
    """The layer that the head reads: the last."""
    return record.layers[-1].name


def _figure(record: ProbeRecord, tag: str, form: str) -> str:
    value = record.scalars.get(tag, math.nan)
    return _DASH if math.isnan(value) else form.format(value)
