"""``results.json``: everything that a run found, with what is needed to trust it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_robust.errors import UserError
from lightning_robust.results.atomic import atomic_write
from lightning_robust.results.choices import AlphaChoice, Interval
from lightning_robust.results.codec import decode, encode
from lightning_robust.results.provenance import Provenance

__all__ = ["RUN_SCHEMA", "AlphaRow", "DataDescription", "RunRecord", "read_run", "write_run"]

RUN_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class DataDescription:
    """What the figures were measured on.

    Attributes:
        dataset: name of the data, with the version of a generated world.
        protocol: how accuracy is counted (crops, class subsets, prompts), in one line.
        images: number of images per loader, by loader name.
    """

    dataset: str
    protocol: str
    images: Mapping[str, int]


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
    """

    alpha: float
    val_reference: float
    reference: float
    shifts: Mapping[str, float]
    shifts_mean: float
    signatures: Mapping[str, float] = field(default_factory=dict)


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
        version = data.get("schema_version") if isinstance(data, dict) else None
        if not isinstance(version, int):
            raise UserError("this is not a run's results.json: it has no schema_version")
        if version > RUN_SCHEMA:
            raise UserError(
                f"these results were written by a newer lightning-robust (schema {version}, this one reads up to "
                f"{RUN_SCHEMA}): update it to read them"
            )
        try:
            return decode(cls, data, "results")
        except ValueError as error:
            raise UserError(f"this is not a run's results.json: {error}") from error


def write_run(record: RunRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
        TypeError: a part of the record has no form in JSON.
    """
    text = json.dumps(record.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text + "\n")


def read_run(path: str | os.PathLike[str]) -> RunRecord:
    """Read a ``results.json``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no run record, or of a newer version.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no results at {path}: a finished run writes its results.json there") from None
    except ValueError as error:  # not JSON, or not text
        raise UserError(f"{path} is not a run's results.json: {error}") from None
    try:
        return RunRecord.from_json(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
