"""What the words in the tables of a compression mean, of those that are there."""

from __future__ import annotations

from lightning_robust.report.compress_summary import gains
from lightning_robust.report.compress_words import MASKED, beside_words, in_points, kept_words, start_words
from lightning_robust.results.compress_record import CompressRecord, Latency

__all__ = ["EXTRAPOLATED", "compress_sentences", "gain_sentence"]

EXTRAPOLATED = "†"
"""Stands behind an effective robustness outside the baseline's range."""


def gain_sentence(record: CompressRecord) -> str:
    """Which part of the gain over uniform ranks is the one budget's and which the calibration's; empty if not known.

    Args:
        record: The compression.
    """
    parts = []
    for gain in gains(record):
        (budget, budget_shifts), (calibration, calibration_shifts) = gain.budget, gain.calibration
        first, second = in_points(budget), in_points(calibration)
        if record.dense.shifts:
            first, second = f"{first} / {in_points(budget_shifts)}", f"{second} / {in_points(calibration_shifts)}"
        parts.append(f"at {100 * gain.keep:g}% the budget (plain - uniform) {first}, calibration on top {second}")
    if not parts:
        return ""
    where = "reference / mean of shifts" if record.dense.shifts else "the reference"
    return f"Where the gain over uniform comes from, in points on {where}: {'; '.join(parts)}."


def compress_sentences(record: CompressRecord) -> list[str]:
    """Sentences below the tables: methods, then time, then effective robustness, then what was left out.

    Args:
        record: The compression.
    """
    return [
        *record.notes,
        *_methods(record),
        *_speed(record),
        *_robustness(record),
        *(sentence for sentence in record.conventions if "left out" in sentence),
    ]


def _methods(record: CompressRecord) -> list[str]:
    words = {
        "calibrated": "calibrated: weight matrices as products of two thin ones, with the least error of their outputs "
        f"on {record.calibration_images:,} reference images that are not judged, counted by how far it moves the "
        f"logits to first order; one budget of {kept_words(record)} over all of them. A matrix that would not become "
        "smaller, and the head, stay as they are.",
        "plain": "plain: the best product for the matrix itself (SVD), no calibration; one budget too, by singular "
        "values.",
        "uniform": "uniform: the best product for the matrix itself too, the same share of each matrix.",
        "magnitude": f"magnitude{MASKED}: the smallest weights set to zero by a mask. They are stored and multiplied "
        "still: neither smaller nor faster. Kept counts what is not zero.",
    }
    lines = [words[method] for method in dict.fromkeys(point.method for point in record.points) if method in words]
    epochs = sorted({point.finetuned_epochs for point in record.points if point.finetuned_epochs})
    if epochs:
        count = f"{', '.join(map(str, epochs))} epoch{'s' if epochs != [1] else ''}"
        lines.append(f"+ft: finetuned for {count} on the reference's training images, which changes no size.")
    if any(point.method == "dense" and point.finetuned_epochs for point in record.points):
        lines.append(
            f"{start_words(record)}+ft: the whole network, finetuned. What it wins and loses is finetuning's doing, "
            "so +ft is to be compared with it."
        )
    return lines


def _speed(record: CompressRecord) -> list[str]:
    if not record.dense.latency:
        return []
    batches = sorted(record.dense.latency, key=int)
    threads = f"{record.threads} thread{'s' if record.threads > 1 else ''}"
    by_clock = record.dense.latency[batches[0]].speedup_by == "clock"
    by = "by the clock" if by_clock else "by processor time, which other work on the machine disturbs less"
    lines = [
        f"{', '.join(f'b={batch}' for batch in batches)}: how many times as fast as {beside_words(record)} with a "
        f"batch of so many images, median over rounds of both in turns, {by}, {threads}, {record.provenance.device}"
        f"{f'; in the first table batch {batches[-1]}' if len(batches) > 1 else ''}."
    ]
    over = [
        _other(dense, by_clock) / _other(own, by_clock) / speed
        for point in record.points[1:]
        for batch, own in point.latency.items()
        if (dense := record.dense.latency.get(batch)) is not None
        and dense.processor_ms
        and own.processor_ms
        and (speed := record.speedup(point, batch))
    ]
    if over:
        other = "processor time" if by_clock else "the clock"
        lines.append(f"By {other} each is {min(over):.2f} to {max(over):.2f} of that.")
    return lines


def _other(latency: Latency, by_clock: bool) -> float:
    """Median time of the kind that ratios were not taken of."""
    return (latency.processor_ms or latency.median_ms) if by_clock else latency.median_ms


def _robustness(record: CompressRecord) -> list[str]:
    found = [point.robustness for point in record.points if point.robustness is not None]
    if not found:
        return []
    lines = [
        f"ER: effective robustness, mean over the shifts, in points over the baseline {record.baseline}. Of a network "
        "near chance on the reference it says nothing."
    ]
    if any(one.mean.extrapolated for one in found):
        lines.append(
            f"{EXTRAPOLATED} extrapolation: the reference accuracy lies outside that of the baseline's models."
        )
    return lines
