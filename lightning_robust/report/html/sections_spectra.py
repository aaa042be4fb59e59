"""Signatures layer by layer, spectra of representations and weights, and the importance of the head's directions."""

from markupsafe import Markup

from lightning_robust.report.html.blocks import choices, grid, note, number
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.sources import Sources
from lightning_robust.report.html.spectra_panels import (
    importance_chart,
    importance_table,
    layer_table,
    spectrum_chart,
    weight_table,
)
from lightning_robust.report.shorten import short_names
from lightning_robust.results import ProbeRecord

__all__ = ["section"]

_NOTE = (
    "Importance of a direction is σ · mean |cos(v, h)|, over the sum. Much of the raw head’s largest can be a mean "
    "that all classes share, which changes no answer: the centred head, without it, gives identical predictions. "
    "Any head truncates well to some degree, so read it beside the random head and the random rotation."
)


def section(found: Sources) -> Section | None:
    """Of every probed model.

    Args:
        found: result files.
    """
    if not found.probes:
        return None
    parts: list[Markup | None] = []
    for one in found.probes:
        if len(found.probes) > 1:
            parts.append(tag("h3", one.record.model.name))
        parts += _model(one.record)
    return Section(id="spectra", title="Spectra and importance", lead=_lead(found.probes[0].record), body=joined(parts))


def _model(record: ProbeRecord) -> list[Markup | None]:
    names = [layer.name for layer in record.layers]
    short = short_names(names)
    spectra = [(short[name], drawn) for name in reversed(names) if (drawn := spectrum_chart(record, name)) is not None]
    importance = importance_chart(record)
    charts = [choices("Layer", spectra)] if spectra else []
    return [
        layer_table(record),
        grid(*charts, *([importance] if importance is not None else [])),
        importance_table([(record.model.name, record)]),
        note(_NOTE) if importance is not None else None,
        weight_table(record),
    ]


def _lead(record: ProbeRecord) -> str:
    """What stands out: the layer of the largest kurtosis, and how many directions are privileged."""
    by_layer = {
        layer.name: value
        for layer in record.layers
        if (value := record.scalars.get(f"kurtosis/{layer.name}/width_adjusted")) is not None and value == value
    }
    if not by_layer:
        return ""
    largest = max(by_layer, key=lambda name: by_layer[name])
    lead = (
        f"Kurtosis is largest at {largest}, {number(by_layer[largest])} times that of a Gaussian as wide; what the "
        f"head reads has {number(by_layer.get(record.layers[-1].name))} times."
    )
    privileged = [
        record.scalars.get(f"importance/{record.layers[-1].name}/{head}/privileged") for head in ("raw", "centred")
    ]
    if all(value is not None for value in privileged):
        raw, centred = (number(value) for value in privileged)
        lead += f" {raw} directions of the raw head are privileged, {centred} of the centred one."
    return lead
