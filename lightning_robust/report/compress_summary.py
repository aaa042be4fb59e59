"""The smallest network of each kind that loses little: what a compression comes to in a few lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_robust.report.compress_words import Series, all_series
from lightning_robust.results.compress_record import CompressedPoint, CompressRecord

__all__ = ["POINTS", "SHIFTS", "Gain", "Smallest", "beyond", "gains", "loss", "shown_shares", "smallest"]

POINTS = 0.01
"""So much accuracy may be lost, as in the headline of direction pruning: one point."""
SHIFTS = "shifts"
"""Key of the mean over the shifts among the differences of a point."""


@dataclass(frozen=True)
class Smallest:
    """The smallest networks of one kind that lose at most one point by the estimate; None where each loses more.

    A finetuned network is compared with the dense one that was finetuned as long, where there is one.

    Attributes:
        series: which kind.
        reference: by the accuracy on the reference.
        shifts: by the mean of the shifts; None without shifts too.
    """

    series: Series
    reference: CompressedPoint | None
    shifts: CompressedPoint | None


def smallest(record: CompressRecord, points: float = POINTS) -> list[Smallest]:
    """Find the smallest network of each kind, among those that were made, that loses at most so much.

    Args:
        record: The compression.
        points: Accuracy that may be lost, a fraction; 0.01 is one point.
    """

    def first(series: Series, name: str) -> CompressedPoint | None:
        # a loss of exactly one point is one, whatever the last digit of its fraction
        fitting = [p for p in series.points if loss(record, p, name, record.tuned_dense(p)) <= points + 1e-9]
        return min(fitting, key=record.share, default=None)

    reference = record.dense.reference.set
    return [
        Smallest(series, first(series, reference), first(series, SHIFTS))
        for series in all_series(record)
        if series.points[0].method != "dense"  # the dense network, finetuned
    ]


@dataclass(frozen=True)
class Gain:
    """What one budget over all layers gives at a share, and what calibration adds, as differences of accuracies.

    Attributes:
        keep: the share that was asked for.
        budget: by reference and mean of the shifts, plain less uniform.
        calibration: likewise, calibrated less plain.
    """

    keep: float
    budget: tuple[float, float]
    calibration: tuple[float, float]


def gains(record: CompressRecord) -> list[Gain]:
    """Take the gain of calibrated networks over uniform ones apart, before finetuning.

    Args:
        record: The compression.

    Returns:
        For each of `shown_shares` at which all three were made.
    """
    found = []
    for keep in shown_shares(record):
        here = {one.method: one for one in record.points[1:] if one.keep == keep and not one.finetuned_epochs}
        if {"calibrated", "plain", "uniform"} <= set(here):
            calibrated, plain, uniform = here["calibrated"], here["plain"], here["uniform"]
            found.append(Gain(keep, _more(plain, uniform), _more(calibrated, plain)))
    return found


def shown_shares(record: CompressRecord) -> list[float]:
    """The shares that the first table shows: the one nearest to a half, and the smallest.

    Args:
        record: The compression.
    """
    shares = sorted({point.keep for point in record.points if point.method != "dense"}, reverse=True)
    return list(dict.fromkeys((min(shares, key=lambda share: abs(share - 0.5)), shares[-1]))) if shares else []


def _more(one: CompressedPoint, other: CompressedPoint) -> tuple[float, float]:
    return one.reference.accuracy - other.reference.accuracy, one.shifts_mean - other.shifts_mean


def beyond(record: CompressRecord, point: CompressedPoint, name: str, points: float = POINTS) -> bool:
    """Whether the interval of what a point loses goes beyond so much.

    Args:
        record: The compression.
        point: The network; where it is finetuned, it is compared with the dense one that was finetuned as long.
        name: A set, or `"shifts"`.
        points: A fraction.
    """
    tuned = record.tuned_dense(point) is not record.dense
    interval = (point.tuned_differences if tuned else point.differences).get(name)
    return interval is not None and interval.low < -points - 1e-9


def loss(record: CompressRecord, point: CompressedPoint, name: str, other: CompressedPoint | None = None) -> float:
    """Accuracy of the dense network less that of a point, a fraction; NaN where it was not measured.

    Args:
        record: The compression.
        point: The network.
        name: A set, or `"shifts"` for the mean over them.
        other: What it is compared with; None takes the dense network.
    """
    other = other or record.dense
    if name == SHIFTS:
        return other.shifts_mean - point.shifts_mean
    by_set = [{row.set: row.accuracy for row in one.rows}.get(name, math.nan) for one in (other, point)]
    return by_set[0] - by_set[1]
