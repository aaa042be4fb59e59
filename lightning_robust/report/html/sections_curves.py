"""Signatures over the epochs of a training and along its Wise-FT path, layer by layer."""

from collections.abc import Callable, Iterator

from markupsafe import Markup

from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.blocks import choices, folded, note, number
from lightning_robust.report.html.curve_panels import layer_panel, weight_panel
from lightning_robust.report.html.curve_tags import Measured, of_curves, of_path
from lightning_robust.report.html.markup import joined, tag
from lightning_robust.report.html.section import Section
from lightning_robust.report.html.sources import Sources
from lightning_robust.report.shorten import short_names

__all__ = ["section"]

_EPOCH = Axis(label="epoch (0: before training)", whole=True)
_ALPHA = Axis(label="α: 0 before finetuning, 1 after it", low=0, high=1)
_NOTE = (
    "Dashed: the same figure of the untrained model, on the same images. Outlier features indicate robustness in the "
    "paper and its revision; the revision withdraws the number of concepts as an indicator and attributes it to "
    "language supervision. With few classes no direction may count as privileged: read the curve, not the count."
)


def section(found: Sources) -> Section | None:
    """Curves of every training that was found.

    Args:
        found: result files.
    """
    parts: list[Markup] = []
    leads: list[str] = []
    for curves in found.curves:
        measured = of_curves(curves.record)
        shown = list(_parts(measured, _EPOCH))
        if shown:
            parts += [tag("h3", f"While {_name(curves.folder.parts)} trained"), *shown]
            leads += _lead(measured)
    for run in found.runs:
        measured = of_path(run.record.wise_ft, run.record.reference_lines.get("untrained", {}))
        shown = list(_parts(measured, _ALPHA))
        if shown:
            parts += [tag("h3", f"Along the Wise-FT path of {_name(run.folder.parts)}"), *shown]
    if not parts:
        return None
    return Section(
        id="curves", title="Signature curves", lead=leads[0] if leads else "", body=joined([*parts, note(_NOTE)])
    )


def _name(parts: tuple[str, ...]) -> str:
    return "/".join(parts[-2:])


def _parts(measured: Measured, x: Axis) -> Iterator[Markup]:
    layers = _panels(measured.layers, layer_panel, measured, x)
    if layers:
        yield choices("Layer", layers)
    weights = _panels(measured.weights, weight_panel, measured, x)
    if weights:
        yield folded("Weight matrices", choices("Matrix", weights))


def _panels(
    names: list[str], panel: Callable[[str, Measured, Axis], Markup | None], measured: Measured, x: Axis
) -> list[tuple[str, Markup]]:
    short = short_names(names)
    return [(short[name], drawn) for name in names if (drawn := panel(name, measured, x)) is not None]


def _lead(measured: Measured) -> Iterator[str]:
    """How the kurtosis of what the head reads moved."""
    layer = measured.layers[0] if measured.layers else ""
    if not measured.known(f"kurtosis/{layer}") or len(measured.places) < 2:
        return
    values = measured.of(f"kurtosis/{layer}")
    untrained = measured.untrained.get(f"kurtosis/{layer}")
    beside = "" if untrained is None else f"; untrained it is {number(untrained)}"
    yield (
        f"Kurtosis of {layer} went from {number(values[0])} to {number(values[-1])} in "
        f"{measured.places[-1] - measured.places[0]:g} epochs{beside}."
    )
