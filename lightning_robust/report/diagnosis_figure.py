"""The picture of a diagnosis: predicted against measured on families not seen, and where the diagnosed models lie."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_robust.report.diagnosis_words import short_models
from lightning_robust.results import atomic_path
from lightning_robust.results.diagnosis_record import CalibrationRecord, DiagnosedModel, DiagnosisRecord, TrainingPoint
from lightning_robust.results.diagnosis_sentence import points

__all__ = ["DIAGNOSIS_PICTURE", "diagnosis_figure", "write_diagnosis_figure"]

DIAGNOSIS_PICTURE: Final = "diagnosis.png"
# Okabe and Ito's palette, told apart by the colour-blind; a marker of its own for each kind, too
_KINDS: Final = {
    "zero-shot": ("#0072B2", "o"),
    "interpolated": ("#56B4E9", "."),
    "finetuned": ("#009E73", "s"),
    "supervised": ("0.45", "^"),
}
_VERDICTS: Final = {"robust": "#007a55", "not robust": "#D55E00", "undetermined": "#8a6d00"}
_SHOWN: Final = 24  # models that have a line of their own


def diagnosis_figure(record: DiagnosisRecord | CalibrationRecord) -> Figure:
    """Draw the table's rows, each predicted without its family, and the diagnosed models beside them.

    Left: measured against predicted effective robustness in points, with prediction intervals; on the dotted line they
    are equal. Diagnosed models were not measured, so that their dashed lines stand at what is predicted. Right, where
    there are such models: their predictions with intervals and verdicts, 0 being a standard model and the dotted line
    what one may show by chance, which verdicts are judged by.

    Args:
        record: Diagnoses, or the table alone.

    Returns:
        The figure, of one or two panels.
    """
    models = list(record.models) if isinstance(record, DiagnosisRecord) else []
    figure = Figure(figsize=(11.5 if models else 6.4, 5.2), dpi=110, layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=(1.15, 1)) if models else [figure.subplots()]
    _table(panels[0], record.points, models)
    if models:
        margin = record.margin
        _models(panels[1], models[:_SHOWN], margin)
        left = len(models) - _SHOWN
        if left > 0:
            figure.supxlabel(f"{left} more models are in results.json", fontsize=8)
    return figure


def write_diagnosis_figure(record: DiagnosisRecord | CalibrationRecord, folder: Path) -> Path:
    """Write the picture into a folder, whole or not at all.

    Args:
        record: Diagnoses, or the table alone.
        folder: Where to.

    Returns:
        The file.
    """
    file = folder / DIAGNOSIS_PICTURE
    with atomic_path(file) as temporary:
        diagnosis_figure(record).savefig(temporary, format="png")
    return file


def _table(axes: Axes, rows: Sequence[TrainingPoint], models: Sequence[DiagnosedModel]) -> None:
    """Rows of the table in points; the diagonal where prediction and measurement are equal."""
    known = [row for row in rows if not math.isnan(row.predicted)]
    kinds = [*_KINDS, *(kind for kind in dict.fromkeys(row.kind for row in known) if kind not in _KINDS)]
    for kind in kinds:
        own = [row for row in known if row.kind == kind]
        colour, marker = _KINDS.get(kind, ("black", "x"))
        if own:
            _kind(axes, own, colour, marker, kind)
    judged = [model for model in models if not math.isnan(model.predicted)]
    for k, model in enumerate(judged):
        label = "diagnosed, not measured" if k == 0 else None
        axes.axvline(100 * model.predicted, color=_VERDICTS[model.verdict], linestyle="--", linewidth=1.1, label=label)
    ends = [100 * value for row in known for value in (row.predicted, row.target)]
    ends += [100 * model.predicted for model in judged]
    if ends:
        axes.plot(*([min(ends) - 3, max(ends) + 3],) * 2, ":", color="0.3", linewidth=1, label="equal")
    axes.set_title("rows of the table, each predicted without its family", fontsize=10)
    axes.set_xlabel("predicted effective robustness, points", fontsize=9)
    axes.set_ylabel("measured effective robustness, points", fontsize=9)
    _finish(axes)
    axes.axhline(0, color="0.75", linewidth=0.8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="best")


def _kind(axes: Axes, rows: Sequence[TrainingPoint], colour: str, marker: str, label: str) -> None:
    x, y = [100 * row.predicted for row in rows], [100 * row.target for row in rows]
    spans = [
        [100 * max(0.0, row.predicted - row.low) if math.isfinite(row.low) else 0.0 for row in rows],
        [100 * max(0.0, row.high - row.predicted) if math.isfinite(row.high) else 0.0 for row in rows],
    ]
    axes.errorbar(x, y, xerr=spans, fmt="none", ecolor=colour, elinewidth=0.6, alpha=0.3)
    axes.plot(x, y, marker, color=colour, markersize=6, label=label, linestyle="none")


def _models(axes: Axes, models: Sequence[DiagnosedModel], margin: float) -> None:
    """A line for each model, the first on top; a dotted one where a standard model's chance ends."""
    for k, model in enumerate(models):
        colour = _VERDICTS[model.verdict]
        if math.isnan(model.predicted):
            axes.text(0, k, " not predicted", va="center", fontsize=8, color=colour)
            continue
        if math.isfinite(model.low) and math.isfinite(model.high):
            axes.plot([100 * model.low, 100 * model.high], [k, k], color=colour, linewidth=2.2, alpha=0.6)
        axes.plot([100 * model.predicted], [k], "D", color=colour, markersize=6)
        axes.annotate(model.verdict, (100 * model.predicted, k), xytext=(0, 7), textcoords="offset points",
                      ha="center", fontsize=8, color=colour)  # fmt: skip
    axes.set_yticks(range(len(models)), short_models([model.name for model in models]), fontsize=8)
    axes.set_ylim(len(models) - 0.3, -0.7)
    axes.axvline(0, color="0.4", linewidth=0.9)
    chance = ""
    if margin > 0:
        axes.axvline(100 * margin, color="0.4", linewidth=1.1, linestyle=":")
        chance = f", dotted: {points(margin, digits=1)} by chance"
    axes.set_title(f"diagnosed models (0: a standard model{chance})", fontsize=10)
    axes.set_xlabel("predicted effective robustness, points", fontsize=9)
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
