"""``results.json`` of ``compress``: one image network at several sizes, what each is, costs and still does."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.choices import Interval
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.results.evaluation_record import AccuracyRow
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = [
    "COMPRESS_KIND",
    "COMPRESS_SCHEMA",
    "WORTH_COMPRESSING",
    "CompressRecord",
    "CompressedPoint",
    "Latency",
    "read_compression",
    "write_compression",
]

COMPRESS_SCHEMA = 1
COMPRESS_KIND = "compression"
WORTH_COMPRESSING = 0.05
"""So far above guessing a network's accuracy must be for one lost point to say anything: five times that point."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long one batch takes, timed beside the dense network in the same rounds.

    Attributes:
        median_ms: median over the rounds by the clock, in milliseconds for the whole batch.
        low_ms, high_ms: the fastest and the slowest round.
        rounds: how many.
        processor_ms: median processor time of all threads, which other work on the machine touches less; None where
            it was not taken.
        speedup: median over the rounds of dense time over this time, both of one round; None where that was not kept.
        speedup_by: what time that is: ``"clock"``, or ``"processor"`` where one thread of a CPU was timed.
        speedup_low, speedup_high: the smallest and the largest of these ratios.

    Example:
        >>> Latency(median_ms=12.0, low_ms=11.5, high_ms=14.0, rounds=9).median_ms
        12.0
    """

    median_ms: float
    low_ms: float
    high_ms: float
    rounds: int
    processor_ms: float | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    speedup_by: str = "clock"


@dataclass(frozen=True, kw_only=True)
class CompressedPoint:
    """The network at one size, made in one way.

    Attributes:
        method: ``"dense"``, ``"calibrated"`` (low rank, calibrated on images, one budget over all layers),
            ``"plain"`` (low rank by plain SVD, one budget over all layers by singular values), ``"uniform"`` (low rank
            by plain SVD, the same share of every layer) or ``"magnitude"`` (the smallest weights set to zero by a
            mask).
        finetuned_epochs: epochs of finetuning after it was made; 0 for none.
        keep: share of the record's budget that was asked for, in (0, 1].
        parameters: entries that it stores, of the image network and its head.
        nonzero: of these, the ones that are not zero.
        flops: floating-point operations of one image, a multiplication and an addition counted as two; a mask saves
            none of them.
        file_bytes: bytes of its weights as a file; None where it was not written.
        latency: by batch size in digits, ``"1"``.
        ranks: the rank of each weight matrix by name, None for one that stays dense; empty for dense and masked.
        rows: accuracies, the reference first.
        robustness: effective robustness; None without a baseline.
        differences: accuracy less that of the dense network on the same images, by set and ``"shifts"`` for their
            mean, by paired bootstrap; empty for the dense network itself.
        tuned_differences: of a finetuned network, likewise against the dense network that was finetuned as long; empty
            where there is none.
        folder: where it was written, below the run's folder; None where it was not.
    """

    method: str
    finetuned_epochs: int = 0
    keep: float = 1.0
    parameters: int
    nonzero: int
    flops: int
    file_bytes: int | None = None
    latency: Mapping[str, Latency] = field(default_factory=dict)
    ranks: Mapping[str, int | None] = field(default_factory=dict)
    rows: tuple[AccuracyRow, ...]
    robustness: EffectiveRobustness | None = None
    differences: Mapping[str, Interval] = field(default_factory=dict)
    tuned_differences: Mapping[str, Interval] = field(default_factory=dict)
    folder: str | None = None

    @property
    def masked(self) -> bool:
        """Whether weights are set to zero in place, so that the network is neither smaller nor faster."""
        return self.method == "magnitude"

    @property
    def reference(self) -> AccuracyRow:
        """The reference."""
        return self.rows[0]

    @property
    def shifts(self) -> tuple[AccuracyRow, ...]:
        """The shifts, in order."""
        return self.rows[1:]

    @property
    def shifts_mean(self) -> float:
        """Unweighted mean of the accuracies on the shifts, NaN without shifts."""
        return sum(row.accuracy for row in self.shifts) / len(self.shifts) if self.shifts else float("nan")


@dataclass(frozen=True, kw_only=True)
class CompressRecord:
    """One model at every size that was asked for.

    Attributes:
        schema_version: version of this layout.
        kind: ``"compression"``.
        provenance: versions, machine, revision, time.
        seeds: every seed, by what it seeds.
        data: data set, protocol and image counts.
        conventions: sentences on how figures were taken.
        notes: those of them without which the figures mislead, such as parameters that do nothing from the start; they
            are printed with the tables.
        split: ``"test"`` or ``"val"``, the judged images.
        baseline: the baseline of effective robustness in words; None without one.
        model: name of the model, as it was asked for.
        origin: where its weights come from, in words.
        checkpoint_hash: SHA-256 of the weights.
        alpha: position on a Wise-FT path; None for a model by itself.
        budget: what is kept to a share: ``"parameters"`` or ``"flops"``.
        calibration_images: reference images, none of them judged, that ranks and factors were estimated from.
        threads: threads of the processor that latency was measured with.
        matrices: outputs and inputs of each weight matrix that can be factored, by the names of ``ranks``; a
            convolution's inputs are its channels times its kernel's places. Empty where nobody wrote them down.
        chance: accuracy of guessing on the reference, one over the number of classes; None where it is not known.
        already_low_rank: matrices of the network that were products of two before anything was cut.
        points: the dense network first (as it was given), each judged on the same sets.

    Raises:
        ValueError: the first point is not the dense network, a point has no accuracy or those of other sets than the
            dense network, or a network has no parameters.
    """

    schema_version: int = COMPRESS_SCHEMA
    kind: str = COMPRESS_KIND
    provenance: Provenance
    seeds: Mapping[str, int]
    data: DataDescription
    conventions: tuple[str, ...]
    notes: tuple[str, ...] = ()
    split: str = "test"
    baseline: str | None = None
    model: str
    origin: str
    checkpoint_hash: str
    alpha: float | None = None
    budget: str = "parameters"
    calibration_images: int
    threads: int
    matrices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    chance: float | None = None
    already_low_rank: int = 0
    points: tuple[CompressedPoint, ...]

    def __post_init__(self) -> None:
        if not self.points or self.points[0].method != "dense":
            found = self.points[0].method if self.points else "none"
            raise ValueError(f"the first point of a record of compress is the dense network, got {found}")
        sets = [row.set for row in self.points[0].rows]
        for point in self.points:
            if not point.rows or [row.set for row in point.rows] != sets:
                raise ValueError(
                    f"every point of a record of compress has a row for each of {', '.join(sets) or 'some sets'}, got "
                    f"{', '.join(row.set for row in point.rows) or 'none'} for {point.method} at {point.keep:g}"
                )
            if point.parameters < 1:
                raise ValueError(f"a network has at least one parameter, got {point.parameters} for {point.method}")

    @property
    def dense(self) -> CompressedPoint:
        """The network as it was, which everything is compared with."""
        return self.points[0]

    @property
    def near_chance(self) -> bool:
        """Whether the network has so little to lose that losing little says nothing, by the rule of direction pruning.

        That is: its accuracy on the reference is at most five points above guessing.
        """
        return self.chance is not None and self.dense.reference.accuracy - self.chance <= WORTH_COMPRESSING + 1e-9

    def tuned_dense(self, point: CompressedPoint) -> CompressedPoint:
        """What a point is to be compared with: of a finetuned one the dense network, finetuned as long if it was."""
        alike = (p for p in self.points if p.method == "dense" and p.finetuned_epochs == point.finetuned_epochs)
        return next(alike, self.dense)

    def share(self, point: CompressedPoint) -> float:
        """What a point keeps of the dense network's budget: parameters (those that are not zero if masked) or FLOPs."""
        if self.budget == "flops":
            return point.flops / self.dense.flops
        return (point.nonzero if point.masked else point.parameters) / self.dense.parameters

    def speedup(self, point: CompressedPoint, batch: str) -> float | None:
        """How many times faster than the dense network a batch is; None where it was not timed."""
        own, dense = point.latency.get(batch), self.dense.latency.get(batch)
        if own is None or dense is None:
            return None
        return own.speedup if own.speedup is not None else dense.median_ms / own.median_ms


def write_compression(record: CompressRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_compression(path: str | os.PathLike[str]) -> CompressRecord:
    """Read a ``results.json`` of ``compress``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(CompressRecord, path, COMPRESS_SCHEMA, "a results.json of compress", "compress")
