"""Spectra of representations and importance of the head's directions, of probed models."""

import math
import re
from collections.abc import Sequence

from markupsafe import Markup

from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import folded, number, table
from lightning_robust.report.html.svg import Series, chart
from lightning_robust.report.shorten import short_names
from lightning_robust.results import ProbeRecord

__all__ = ["importance_chart", "importance_table", "layer_table", "spectrum_chart", "weight_table"]

_FIGURES = (
    ("kurtosis", "kurtosis/{}"),
    ("over a Gaussian’s", "kurtosis/{}/width_adjusted"),
    ("outlier features", "outliers/{}/features"),
    ("neuron-norm kurtosis", "outliers/{}/neuron_norm_kurtosis"),
    ("massive per image", "massive/{}/per_image"),
    ("RankMe", "spectrum/{}/rankme"),
    ("covariance rank", "spectrum/{}/covariance_effective_rank"),
    ("participation ratio", "spectrum/{}/participation_ratio"),
)
_HEADS = (
    ("raw head", "raw", 1, False),
    ("centred head", "centred", 2, False),
    ("random head", "raw/random_head", 0, True),
    ("random rotation", "raw/random_rotation", 5, True),
)
_CONTROLS = (
    ("the head itself", ""),
    ("random head", "random_head/"),
    ("random rotation", "random_rotation/"),
    ("reduced-rank regression", "reduced_rank_regression/"),
)
_IMPORTANCE = ("max_over_median", "privileged", "directions_for_90")


def layer_table(record: ProbeRecord) -> Markup:
    """Outlier figures and effective ranks, layer by layer.

    Args:
        record: of ``probe``.
    """
    short = short_names([layer.name for layer in record.layers])
    shown = [
        (words, tag)
        for words, tag in _FIGURES
        if any(_known(record, tag.format(layer.name)) for layer in record.layers)
    ]
    rows = [
        [short[layer.name], layer.form, *(number(record.scalars.get(tag.format(layer.name))) for _, tag in shown)]
        for layer in record.layers
    ]
    columns = ["layer", "measured as", *(words for words, _ in shown)]
    return table(columns, rows, caption="Signatures by layer, not normalised.", left=2)


def spectrum_chart(record: ProbeRecord, layer: str) -> Markup | None:
    """Eigenvalues of a layer's covariance or second moment, over the largest; None where they were not kept.

    Args:
        record: of ``probe``.
        layer: its name.
    """
    values = record.curves.get(f"spectrum/{layer}/eigenvalues")
    if not values or not max(values) > 0:
        return None
    ordered = sorted(values, reverse=True)
    relative = [value / ordered[0] for value in ordered]
    ranks = [k + 1 for k in range(len(relative))]
    line = Series(name="eigenvalue", x=ranks, y=relative, marks=len(ranks) <= 40)
    x = Axis(label="rank of the eigenvalue", scale="log")
    y = Axis(label="eigenvalue over the largest", scale="log", low=max(1e-8, min(v for v in relative if v > 0)))
    rank = record.scalars.get(f"spectrum/{layer}/rankme")
    words = "" if rank is None else f"RankMe {number(rank)} of {len(ranks)}."
    return chart(f"Spectrum of {layer}", x, y, [line], words=words)


def importance_chart(record: ProbeRecord) -> Markup | None:
    """Importance of the head's directions beside its controls; None for a model without head.

    Args:
        record: of ``probe``.
    """
    found = [re.fullmatch(r"importance/(.+?)/raw/directions", tag) for tag in record.curves]
    layer = next((match.group(1) for match in found if match), None)
    if layer is None:
        return None
    series = []
    for name, form, tone, dashed in _HEADS:
        values = record.curves.get(f"importance/{layer}/{form}/directions")
        if values:
            ordered = sorted(values, reverse=True)
            places = [k + 1 for k in range(len(ordered))]
            series.append(
                Series(name=name, x=places, y=ordered, tone=tone, dashed=dashed, marks=not dashed and len(places) <= 40)
            )
    raw = sorted(record.curves[f"importance/{layer}/raw/directions"])
    middle = len(raw) // 2
    median = raw[middle] if len(raw) % 2 else (raw[middle - 1] + raw[middle]) / 2
    rules = [10 * median] if 0 < 10 * median <= max(raw) * 10 else []
    x = Axis(label="direction, most important first", whole=True)
    words = "The dotted line is ten times the raw head’s median: directions above it are called privileged."
    return chart("Importance of the head’s directions", x, Axis(label="share of importance", scale="log"), series,
                 words=words, rules=rules)  # fmt: skip


def weight_table(record: ProbeRecord) -> Markup | None:
    """Spectra of every weight matrix; None where none was measured.

    Args:
        record: of ``probe``.
    """
    names = list(dict.fromkeys(m.group(1) for tag in record.scalars if (m := re.match(r"weights/([^/]+)/", tag))))
    if not names:
        return None
    tags: Sequence[str] = ("stable_rank", "effective_rank", "alpha")
    rows = [[name, *(number(record.scalars.get(f"weights/{name}/{tag}")) for tag in tags)] for name in names]
    shown = table(["matrix", "stable rank", "effective rank", "alpha"], rows, caption="Spectra of weight matrices.")
    return folded(f"{len(names)} weight matrices", shown, opened=False)


def _known(record: ProbeRecord, tag: str) -> bool:
    return math.isfinite(record.scalars.get(tag, math.nan))


def importance_table(records: Sequence[tuple[str, ProbeRecord]]) -> Markup | None:
    """Headline figures of importance for the raw and the centred head, beside their controls.

    Args:
        records: models with their names.
    """
    rows = [
        [f"{name}, {head} head", words, *(number(record.scalars.get(f"{tag}{end}")) for end in _IMPORTANCE)]
        for name, record in records
        for head in ("raw", "centred")
        for words, control in _CONTROLS
        if _known(record, f"{(tag := f'importance/{record.layers[-1].name}/{head}/{control}')}max_over_median")
    ]
    if not rows:
        return None
    columns = ["", "directions of", "largest over median", "privileged", "directions for 90 %"]
    return table(columns, rows, caption="Importance: raw and centred head give the same predictions.", left=2)
