"""Words, colours and numbers that the tables and pictures of a compression share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning_robust.report.cells import DASH
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord

__all__ = [
    "MASKED",
    "Series",
    "all_series",
    "beside_words",
    "count_words",
    "file_words",
    "in_points",
    "kept_words",
    "milliseconds",
    "model_words",
    "point_label",
    "start_words",
]

# Okabe and Ito's palette, told apart by the colour-blind; grey for what is masked only
_COLOURS = {
    "dense": "#000000", "calibrated": "#0072B2", "plain": "#009E73", "uniform": "#D55E00", "magnitude": "0.45",
}  # fmt: skip
_OTHER = "#CC79A7"
_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


_LINES = {
    "calibrated": "low rank, one budget, calibrated",
    "plain": "low rank, one budget, plain SVD",
    "uniform": "low rank, same share of each, plain SVD",
    "magnitude": "magnitude pruning, masked only",
}
MASKED = "*"
"""Stands behind what is masked only."""


@dataclass(frozen=True)
class Series:
    """One way to make the network smaller, over all sizes.

    Attributes:
        label: its short name, for tables.
        words: its name in a legend.
        colour: of its line.
        tuned: whether it was finetuned afterwards.
        masked: whether it sets weights to zero in place.
        points: the largest share of parameters first; the dense network is none of them.
    """

    label: str
    words: str
    colour: str
    tuned: bool
    masked: bool
    points: tuple[CompressedPoint, ...]


def point_label(record: CompressRecord, point: CompressedPoint) -> str:
    """The short name of how a network was made: `+ft` stands for finetuned afterwards, `*` for masked only.

    Args:
        record: The compression; where its networks were finetuned for different numbers of epochs, these are named.
        point: The network.
    """
    epochs = {one.finetuned_epochs for one in record.points if one.finetuned_epochs}
    tuned = f"+ft{point.finetuned_epochs if len(epochs) > 1 else ''}" if point.finetuned_epochs else ""
    name = start_words(record) if point.method == "dense" else point.method
    return f"{name}{tuned}{MASKED if point.masked else ''}"


def start_words(record: CompressRecord) -> str:
    """What the network is called before anything is cut: one that is low rank already is not dense.

    Args:
        record: The compression.
    """
    return "as given" if record.already_low_rank else "dense"


def beside_words(record: CompressRecord) -> str:
    """What other networks are compared with, within a sentence.

    Args:
        record: The compression.
    """
    return "the network as given" if record.already_low_rank else "dense"


def all_series(record: CompressRecord) -> list[Series]:
    """The points by method and finetuning, in the order of the record.

    Args:
        record: The compression.
    """
    found: dict[str, list[CompressedPoint]] = {}
    for point in record.points[1:]:
        found.setdefault(point_label(record, point), []).append(point)
    return [
        Series(
            label=label,
            words=_line_words(points[0]),
            colour=_COLOURS.get(points[0].method, _OTHER),
            tuned=points[0].finetuned_epochs > 0,
            masked=points[0].masked,
            points=tuple(sorted(points, key=record.share, reverse=True)),
        )
        for label, points in found.items()
    ]


def _line_words(point: CompressedPoint) -> str:
    words = _LINES.get(point.method, point.method)
    if not point.finetuned_epochs:
        return words
    return f"{words}, finetuned {point.finetuned_epochs} epoch{'s' if point.finetuned_epochs > 1 else ''}"


def model_words(record: CompressRecord) -> str:
    """The model in a title: of a long path its last folders, and its place on a path of models.

    Args:
        record: The compression.
    """
    parts = Path(record.model).parts
    name = record.model if len(parts) < 4 else str(Path("…", *parts[-4:]))
    # a file of a path says its place in its name
    return name if record.alpha is None or "alpha=" in parts[-1] else f"{name} at α = {record.alpha:g}"


def kept_words(record: CompressRecord) -> str:
    """What the shares of a compression are shares of.

    Args:
        record: The compression.
    """
    return "multiplications" if record.budget == "flops" else "parameters"


def in_points(share: float) -> str:
    """A difference of accuracies in points, with its sign; zero has none to show.

    Args:
        share: A fraction.

    Example:
        >>> in_points(-0.0123), in_points(-0.0002)
        ('-1.2', '+0.0')
    """
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def count_words(count: float) -> str:
    """A number in three digits with a unit of thousands.

    Args:
        count: At least 0.

    Example:
        >>> count_words(999), count_words(715_230), count_words(87_849_216), count_words(8.8e9)
        ('999', '715 k', '87.8 M', '8.80 G')
    """
    for size, unit in _UNITS:
        if count >= 0.9995 * size:
            return f"{_three_digits(count / size)} {unit}"
    return f"{count:.0f}"


def file_words(size: int | None) -> str:
    """Bytes of a file in decimal units, or a dash.

    Args:
        size: Bytes; None where it was not written.

    Example:
        >>> file_words(351_400_000), file_words(999), file_words(None)
        ('351 MB', '999 B', '–')
    """
    if size is None:
        return DASH
    words = count_words(size)
    return f"{words}B" if " " in words else f"{words} B"


def milliseconds(value: float) -> str:
    """A time in three digits, or in whole milliseconds.

    Args:
        value: Milliseconds.

    Example:
        >>> milliseconds(0.3241), milliseconds(14.0), milliseconds(2862.1)
        ('0.324', '14.0', '2,862')
    """
    return _three_digits(value) if value < 999.5 else f"{value:,.0f}"


def _three_digits(value: float) -> str:
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{3 - len(f'{rounded:.0f}') if rounded >= 1 else 3}f}"
