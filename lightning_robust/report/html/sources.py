"""The result files that a page is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from lightning_robust.results import BaselineRecord, CompressRecord, CurveRow, EvaluationRecord, ProbeRecord, RunRecord
from lightning_robust.results.ablation_record import AblationRecord
from lightning_robust.results.diagnosis_record import DiagnosisRecord
from lightning_robust.results.prune_record import PruneRecord
from lightning_robust.results.study_record import StudyRecord

__all__ = ["Found", "Sources"]

R = TypeVar("R")


@dataclass(frozen=True)
class Found(Generic[R]):
    """A record, and where it was found.

    Attributes:
        folder: of the run that wrote it; its other files lie there.
        record: what it says.
        asked: whether the folder was named; otherwise it was found by the hash of a checkpoint.
    """

    folder: Path
    record: R
    asked: bool = True


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Everything that a page may show; of each kind the records in order, those of the asked folders first.

    Attributes:
        folder: what was asked for.
        runs: trainings (``fit``).
        curves: ``signatures.csv`` of each training that has one.
        baselines: baselines that lie beside trainings.
        evaluations, probes, prunings, compressions, ablations, diagnoses, studies: of the commands of these names.
        skipped: files that name the same weights but could not be read, each with the reason.
        second: what the page compares with, another folder's; None without one.
    """

    folder: Path
    runs: tuple[Found[RunRecord], ...] = ()
    curves: tuple[Found[tuple[CurveRow, ...]], ...] = ()
    baselines: tuple[Found[BaselineRecord], ...] = ()
    evaluations: tuple[Found[EvaluationRecord], ...] = ()
    probes: tuple[Found[ProbeRecord], ...] = ()
    prunings: tuple[Found[PruneRecord], ...] = ()
    compressions: tuple[Found[CompressRecord], ...] = ()
    ablations: tuple[Found[AblationRecord], ...] = ()
    diagnoses: tuple[Found[DiagnosisRecord], ...] = ()
    studies: tuple[Found[StudyRecord], ...] = ()
    skipped: tuple[tuple[Path, str], ...] = ()
    second: Sources | None = None
