"""``study.json``: many models measured the same way, one row for each, with what to trust the table by."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = ["STUDY_KINDS", "STUDY_SCHEMA", "StudyFailure", "StudyRecord", "StudyRow", "read_study", "write_study"]

STUDY_SCHEMA = 1
#: What a row's model can be.
STUDY_KINDS = ("zero-shot", "finetuned", "interpolated", "supervised", "random")


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One model: a model of the study by itself, or one point of a finetuned model's Wise-FT path.

    Attributes:
        name: of the row, unique in the table, as in ``"rn-web-0-finetuned, α = 0.5"``.
        model: name of the study's model that it belongs to.
        family: name of the pretraining run that it descends from; a supervised or random model is a family of its own.
        kind: one of `STUDY_KINDS`; the points inside a path are ``"interpolated"``.
        alpha: position on the path, 1 for the finetuned model itself; None for a model that is no point of a path.
        labels: what else is known of it in words, by name, such as its backbone and its corpus.
        checkpoint_hash: SHA-256 of its weights; empty where nothing was measured.
        figures: by tag, see ``docs/study.md``; NaN where a figure is not defined, absent where it was not measured.
        seconds: by measurement (``train`` among them), how long it took by the clock; absent where unknown.
    """

    name: str
    model: str
    family: str
    kind: str
    alpha: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    checkpoint_hash: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in STUDY_KINDS:
            raise ValueError(f"kind is one of {', '.join(STUDY_KINDS)}, got {self.kind!r}")

    def value(self, tag: str) -> float:
        """A figure by its tag, NaN where it was not measured."""
        return self.figures.get(tag, math.nan)


@dataclass(frozen=True, kw_only=True)
class StudyFailure:
    """What could not be had.

    Attributes:
        model: name of the study's model. step: ``train``, ``evaluate``, ``probe`` or ``prune``.
        reason: why, in a sentence or the last lines that it printed.
    """

    model: str
    step: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """All that a study measured.

    Attributes:
        schema_version: version of this layout.
        kind: ``"study"``.
        name: of the study.
        provenance: versions, machine, revision, time.
        seeds: every seed, by what it seeds.
        data: data set, protocol and image counts.
        conventions: sentences on how figures were taken.
        baseline: the baseline of effective robustness in words; None without one.
        shifts: names of the shifts, in order.
        rows: the models.
        failures: what could not be had; rows without it are whole.
    """

    schema_version: int = STUDY_SCHEMA
    kind: str = "study"
    name: str
    provenance: Provenance
    seeds: Mapping[str, int]
    data: DataDescription
    conventions: tuple[str, ...]
    baseline: str | None = None
    shifts: tuple[str, ...] = ()
    rows: tuple[StudyRow, ...]
    failures: tuple[StudyFailure, ...] = ()

    def of_kind(self, *kinds: str) -> tuple[StudyRow, ...]:
        """The rows of some kinds, in order."""
        return tuple(row for row in self.rows if row.kind in kinds)


def write_study(record: StudyRecord, path: str | os.PathLike[str]) -> None:
    """Write ``study.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_study(path: str | os.PathLike[str]) -> StudyRecord:
    """Read a ``study.json``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(StudyRecord, path, STUDY_SCHEMA, "a study.json of study", "study")
