"""``results.json``: everything that a run found, with what is needed to trust it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_robust.results.choices import AlphaChoice, Interval
from lightning_robust.results.codec import encode
from lightning_robust.results.effective_robustness import EffectiveRobustness
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import from_json, read_record, write_record

__all__ = ["RUN_SCHEMA", "AlphaRow", "DataDescription", "RunRecord", "read_run", "write_run"]

#: 2 adds effective robustness along the path, and the start of the run; 3 the images that could not be read; 4 what
#: training read. Files of older versions are read as they are.
RUN_SCHEMA = 4
_WHAT = "a run's results.json"


@dataclass(frozen=True, kw_only=True)
class DataDescription:
    """What the figures were measured on.

    Attributes:
        dataset: name of the data, with the version of a generated world.
        protocol: how accuracy is counted (crops, class subsets, prompts), in one line.
        images: number of images per loader, by loader name.
        unreadable: what was left out of them as unreadable, a sentence for each image, by loader name; loaders that
            left nothing out are not there.
        training: what training read, with a digest, as the data module says it; None for one that does not.
    """

    dataset: str
    protocol: str
    images: Mapping[str, int]
    unreadable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    training: str | None = None


@dataclass(frozen=True, kw_only=True)
class AlphaRow:
    """One row of the Wise-FT table. Accuracies are fractions in [0, 1].

    Attributes:
        alpha: interpolation coefficient; 0 is before finetuning, 1 after it.
        val_reference: accuracy on the reference validation images, on which choices are made.
        reference: accuracy on the reference test images.
        shifts: accuracy on the test images of each shift, by name.
        shifts_mean: unweighted mean over the shifts.
        signatures: figures by tag; NaN where one is not defined.
        effective_robustness: on the test images, against the run's baseline; None without one.
        matched_reference: accuracy on the reference test images of the classes that a shift covers, by shift, where
            the baseline compares with that.
    """

    alpha: float
    val_reference: float
    reference: float
    shifts: Mapping[str, float]
    shifts_mean: float
    signatures: Mapping[str, float] = field(default_factory=dict)
    effective_robustness: EffectiveRobustness | None = None
    matched_reference: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All that one run found.

    Attributes:
        schema_version: version of this layout.
        kind: what ran: ``"finetune"``, ``"pretrain"``, …
        provenance: versions, machine, revision, time.
        seeds: every seed, by what it seeds.
        config: the settings of the run, as plain values.
        data: data set, protocol and image counts.
        conventions: sentences on how figures were taken (layer, normalisation, kurtosis convention, …).
        wise_ft: one row per α, increasing; empty when the path was not evaluated.
        choice: α fixed and α*; None when the path was not evaluated.
        intervals: differences with their intervals, by name.
        reference_lines: figures of other models under the same tags (``"untrained"`` …), by model name.
        checkpoints: SHA-256 of each checkpoint, by its path relative to the run's folder.
        baseline: the baseline of effective robustness, in one line; None without one.
        start: what training began from, in words (``"zero-shot, 20 classes × 8 prompts"``); None where nobody said.

    Example:
        >>> from lightning_robust.results.provenance import collect_provenance
        >>> record = RunRecord(kind="finetune", provenance=collect_provenance(threads=1), seeds={"training": 0},
        ...     config={}, data=DataDescription(dataset="scenes", protocol="top-1", images={"reference": 2000}))
        >>> RunRecord.from_json(record.to_json()) == record
        True
    """

    schema_version: int = RUN_SCHEMA
    kind: str
    provenance: Provenance
    seeds: Mapping[str, int]
    config: Mapping[str, Any]
    data: DataDescription
    conventions: tuple[str, ...] = ()
    wise_ft: tuple[AlphaRow, ...] = ()
    choice: AlphaChoice | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    reference_lines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    baseline: str | None = None
    start: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as plain values for strict JSON; NaN becomes null.

        Raises:
            TypeError: a part of ``config`` has no form in JSON; the message names it.
        """
        return dict(encode(self, "results"))

    @classmethod
    def from_json(cls, data: Any) -> "RunRecord":
        """Build the record from parsed JSON.

        Raises:
            UserError: it was written by a newer version, or is not such a record; the message says what is wrong.
        """
        return from_json(cls, data, RUN_SCHEMA, _WHAT)


def write_run(record: RunRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
        TypeError: a part of the record has no form in JSON.
    """
    write_record(record, path)


def read_run(path: str | os.PathLike[str]) -> RunRecord:
    """Read a ``results.json``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no run record, or of a newer version.
    """
    return read_record(RunRecord, path, RUN_SCHEMA, _WHAT, "a finished run")
