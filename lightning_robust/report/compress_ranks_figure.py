"""The picture of where a compression's budget goes: what each weight matrix keeps at each size."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lightning_robust.report.compress_words import kept_words, model_words
from lightning_robust.report.emergence_axis import plain
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord

__all__ = ["budgeted", "kept_shares", "ranks_figure"]

_METHOD = "calibrated"
_TOWER = "encoder.visual."  # where a classifier has its image network; left out of names
_READABLE = 60  # so many matrices have their ranks written in


def budgeted(record: CompressRecord) -> list[CompressedPoint]:
    """The networks whose ranks one budget over all layers chose, the largest first; empty where sizes are not known.

    Args:
        record: The compression.
    """
    if not record.matrices:
        return []
    found = [point for point in record.points if point.method == _METHOD and point.ranks and not point.finetuned_epochs]
    return sorted(found, key=record.share, reverse=True)


def kept_shares(record: CompressRecord, point: CompressedPoint) -> dict[str, float]:
    """What a network keeps of each matrix: `rank · (rows + columns) / (rows · columns)`, 1 where it stays dense.

    Args:
        record: The compression.
        point: The network.
    """
    shares = {}
    for name, (rows, columns) in record.matrices.items():
        rank = point.ranks.get(name)
        shares[name] = 1.0 if rank is None else rank * (rows + columns) / (rows * columns)
    return shares


def ranks_figure(record: CompressRecord) -> Figure:
    """Draw a row for each weight matrix and a column for each size: the share of it that is kept, its rank written in.

    Args:
        record: The compression, with a network of `budgeted`.
    """
    points, names = budgeted(record), list(record.matrices)
    shares = np.array([[kept_shares(record, point)[name] for point in points] for name in names])
    height = 1.7 + 0.2 * max(len(names), 6)
    figure = Figure(figsize=(4.6 + 0.8 * len(points), height), dpi=100, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, pad=0.03, fraction=0.05, format=PercentFormatter(1.0))
    bar.set_label("of its parameters kept", fontsize=9)
    bar.ax.tick_params(labelsize=8.5)
    axes.set_yticks(range(len(names)), [plain(_matrix_words(record, name)) for name in names], fontsize=7.5)
    axes.set_xticks(range(len(points)), [f"{100 * record.share(point):.0f}%" for point in points], fontsize=9)
    axes.set_xlabel(f"{kept_words(record)} of the network kept", fontsize=9.5)
    axes.hlines([k + 0.5 for k in range(len(names) - 1)], -0.5, len(points) - 0.5, color="white", linewidth=0.6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(names) <= _READABLE:
        _write_ranks(axes, points, names, shares)
    figure.suptitle(plain(f"{model_words(record)}\nranks, one budget over all layers"), fontsize=10.5)
    return figure


def _matrix_words(record: CompressRecord, name: str) -> str:
    rows, columns = record.matrices[name]
    return f"{name.removeprefix(_TOWER).removesuffix('.weight')}  {rows} × {columns}"


def _write_ranks(axes: Axes, points: list[CompressedPoint], names: list[str], shares: np.ndarray) -> None:
    for k, name in enumerate(names):
        for j, point in enumerate(points):
            rank = point.ranks.get(name)
            colour = "black" if shares[k, j] > 0.55 else "white"
            axes.text(j, k, "dense" if rank is None else f"{rank}", color=colour, fontsize=7, ha="center", va="center")
