"""The tables of `probe` with a row for each layer."""

import math
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from lightning_robust.report.cells import figure, forms_by_layer, new_table
from lightning_robust.report.shorten import short_names
from lightning_robust.results import ProbeRecord

Columns = Mapping[str, tuple[str, str]]
"""Titles with the tag of a figure, `{}` for the layer, and its format."""

OUTLIERS: Columns = {
    "kurtosis": ("kurtosis/{}", "{:.2f}"),
    "q95": ("kurtosis/{}/q95", "{:.2f}"),
    "÷ Gauss": ("kurtosis/{}/width_adjusted", "{:.2f}"),
    "outliers": ("outliers/{}/features", "{:.0f}"),
    "share": ("outliers/{}/share_of_norm", "{:.1%}"),
    "norm κ": ("outliers/{}/neuron_norm_kurtosis", "{:.2f}"),
    "massive": ("massive/{}/per_image", "{:.2f}"),
}
OUTLIER_NOTE = (
    "kurtosis: mean over images, a Gaussian gives 3; q95: its 95 % quantile; ÷ Gauss: over that of a Gaussian as wide. "
    "outliers: features with |z| > 6 on 6 % of the images, – where the layer is too narrow; share: of the squared "
    "norm. norm κ: neuron-norm kurtosis. massive: massive activations per image."
)
SPECTRA: Columns = {
    "RankMe": ("spectrum/{}/rankme", "{:.1f}"),
    "cov. rank": ("spectrum/{}/covariance_effective_rank", "{:.1f}"),
    "particip.": ("spectrum/{}/participation_ratio", "{:.1f}"),
}
SPECTRUM_NOTE = (
    "RankMe: effective rank of E[hhᵀ]; cov. rank: the same formula on the covariance; particip.: (Σλ)² / Σλ² of the "
    "covariance."
)


def one_list_of_layers(records: Sequence[ProbeRecord]) -> bool:
    """Whether all models were measured at layers of the same names, in the same order."""
    return len({tuple(layer.name for layer in record.layers) for record in records}) == 1


def layer_table(records: Mapping[str, ProbeRecord], columns: Columns, *, forms: bool = False) -> Table:
    """Figures layer by layer: models side by side where they have the same layers, one after the other where not.

    Args:
        records: Models by their letters.
        columns: What to show; a column of which nothing was measured is left out, and all rows if nothing was.
        forms: Whether to say how each layer was pooled.
    """
    several = len(records) > 1
    shown = {
        title: (tag, form)
        for title, (tag, form) in columns.items()
        if any(not math.isnan(r.scalars.get(tag.format(n.name), math.nan)) for r in records.values() for n in r.layers)
    }
    lead = ["layer", *([""] if several else []), *(["measured"] if forms else [])]
    table = new_table(*lead, *shown, left=len(lead))
    for (letter, name, label, form), is_last in _rows(records) if shown else ():
        words = [escape(label), *([letter] if several else []), *([escape(form)] if forms else [])]
        cells = [figure(records[letter], tag.format(name), how) for tag, how in shown.values()]
        table.add_row(*words, *cells, end_section=several and is_last)
    return table


def _rows(records: Mapping[str, ProbeRecord]) -> list[tuple[tuple[str, str, str, str], bool]]:
    """Letter, layer, label and form of each row, and whether a section ends with it."""
    rows = []
    if not one_list_of_layers(list(records.values())):
        for letter, record in records.items():
            short, forms = short_names(list(forms_by_layer(record))), forms_by_layer(record)
            rows += [
                ((letter, name, short[name], form), name == record.layers[-1].name) for name, form in forms.items()
            ]
        return rows
    first, final = next(iter(records.values())), list(records)[-1]
    short = short_names([layer.name for layer in first.layers])
    for layer in first.layers:
        for k, (letter, record) in enumerate(records.items()):
            form = forms_by_layer(record)[layer.name]
            told = form if k == 0 or form != layer.form else ""
            rows.append(((letter, layer.name, short[layer.name] if k == 0 else "", told), letter == final))
    return rows
