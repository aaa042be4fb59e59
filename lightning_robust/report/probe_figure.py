"""The picture of `probe`: layers, spectra, importance and concepts of one model, or of several side by side."""

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightning_robust.report.probe_layers import one_list_of_layers
from lightning_robust.report.shorten import short_names
from lightning_robust.results import ProbeRecord, atomic_path

_COLOURS = ("#1f5fa8", "#e45756", "#54a24b", "#b279a2", "#f58518", "#72b7b2", "#9d755d", "#4c4c4c")
_DASHES = {"singular_vectors": "-", "neurons": "--", "random_rotation": ":"}


def probe_figure(records: Mapping[str, ProbeRecord], path: Path) -> None:
    """Draw what `probe` found, and write a PNG atomically.

    Args:
        records: Models by the letter that stands for each, at most eight; one needs none.
        path: The picture.
    """
    figure = Figure(figsize=(13, 7.6), dpi=110, layout="constrained")
    axes = figure.subplots(2, 3)
    same = one_list_of_layers(list(records.values()))
    for colour, (letter, record) in zip(_COLOURS[: len(records)], records.items(), strict=True):
        # of different architectures only the depth can be compared
        count = len(record.layers)
        place = {layer.name: k if same else k / max(1, count - 1) for k, layer in enumerate(record.layers)}
        _kurtosis(axes[0, 0], record, place, colour, letter)
        _layers(axes[0, 1], record, "outliers/{}/features", place, colour, letter)
        _layers(axes[0, 2], record, "spectrum/{}/rankme", place, colour, letter)
        _eigenvalues(axes[1, 0], record, colour, letter)
        _importance(axes[1, 1], record, colour, letter)
        _concepts(axes[1, 2], record, colour, letter)
    titles = (
        "kurtosis (mean, 5–95 % of images; a Gaussian gives 3)",
        "outlier features",
        "RankMe of the features",
        "eigenvalues of E[hhᵀ], relative",
        "importance by direction, share of Σσ",
        "concepts found, by threshold on average precision",
    )
    for panel, title in zip(axes.flat, titles, strict=True):
        _finish(panel, title)
    axes[0, 0].axhline(3.0, color="0.6", linewidth=0.8, linestyle=":")
    for panel in axes[0]:
        if same:
            layers = [layer.name for layer in next(iter(records.values())).layers]
            short = short_names(layers)
            panel.set_xticks(range(len(layers)), [short[name] for name in layers], rotation=40, ha="right")
        else:
            panel.set_xlabel("relative depth; 1: h", fontsize=8)
    axes[0, 1].set_ylim(-0.03, max(1.0, axes[0, 1].get_ylim()[1]))
    for panel in axes[1, :2]:
        if panel.lines:
            panel.set_yscale("log")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("rank", fontsize=8)
    figure.suptitle("     ".join(_title(letter, record) for letter, record in records.items()), fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _title(letter: str, record: ProbeRecord) -> str:
    parts = Path(record.model.name).parts
    name = record.model.name if len(parts) < 4 else str(Path("…", *parts[-3:]))
    return f"{letter}: {name}" if letter else name


def _words(name: str, letter: str) -> str:
    return f"{name.replace('_', ' ')}{f', {letter}' if letter else ''}"


def _layers(axes: Axes, record: ProbeRecord, tag: str, place: Mapping[str, float], colour: str, letter: str) -> None:
    layers = [layer.name for layer in record.layers]
    values = [record.scalars.get(tag.format(name), math.nan) for name in layers]
    x = [place[name] for name in layers]
    axes.plot(x, values, "o-", color=colour, linewidth=1.8, markersize=4, label=letter or None)


def _kurtosis(axes: Axes, record: ProbeRecord, place: Mapping[str, float], colour: str, letter: str) -> None:
    layers = [layer.name for layer in record.layers]
    low, high = ([record.scalars.get(f"kurtosis/{n}/{q}", math.nan) for n in layers] for q in ("q05", "q95"))
    axes.fill_between([place[n] for n in layers], low, high, color=colour, alpha=0.15, linewidth=0)
    _layers(axes, record, "kurtosis/{}", place, colour, letter)


def _eigenvalues(axes: Axes, record: ProbeRecord, colour: str, letter: str) -> None:
    values = record.curves.get(f"spectrum/{record.layers[-1].name}/eigenvalues", ())
    if values and values[0] > 0:
        # what is zero up to rounding would stretch the axis over twenty decades
        shown = [value / values[0] for value in values if value > 1e-12 * values[0]]
        axes.plot(range(1, len(shown) + 1), shown, color=colour, linewidth=1.8, label=letter or None)


def _importance(axes: Axes, record: ProbeRecord, colour: str, letter: str) -> None:
    for head, dashes in (("raw", "-"), ("centred", "--"), ("raw/random_head", ":")):
        values = record.curves.get(f"importance/{record.layers[-1].name}/{head}/directions", ())
        words = _words(head.removeprefix("raw/"), letter)
        if values:
            axes.plot(range(1, len(values) + 1), values, dashes, color=colour, linewidth=1.6, label=words)


def _concepts(axes: Axes, record: ProbeRecord, colour: str, letter: str) -> None:
    layer = record.layers[-1].name
    thresholds = record.curves.get(f"concepts/{layer}/thresholds", ())
    for basis, dashes in _DASHES.items():
        counts = record.curves.get(f"concepts/{layer}/{basis}/unique", ())
        words = _words(basis, letter)
        if counts:
            axes.plot(thresholds, counts, dashes, color=colour, linewidth=1.6, label=words)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if not axes.lines:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color="0.5", fontsize=9)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7, ncols=1 if len(axes.lines) < 7 else 2)
