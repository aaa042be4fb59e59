"""``results.json`` of ``probe`` over the step checkpoints of a run: every figure at every step."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.probe_record import ProbedLayer
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = ["STEPS_KIND", "STEPS_SCHEMA", "Agreement", "ProbedStep", "StepsRecord", "read_steps", "write_steps"]

STEPS_SCHEMA = 1
STEPS_KIND = "probe steps"


@dataclass(frozen=True, kw_only=True)
class ProbedStep:
    """The model at one step.

    Attributes:
        step: optimiser steps taken.
        checkpoint_hash: SHA-256 of its file.
        head_hash: SHA-256 of the file of the head beside it; None where the head is zero-shot, or there is none.
        figures: by tag, as the run's monitors log them; NaN where one is not defined.
    """

    step: int
    checkpoint_hash: str
    head_hash: str | None
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far the figures lie from those that the run's own monitors logged at the same steps.

    Attributes:
        figures: how many were compared.
        steps: at how many steps.
        largest: largest |a − b| / max(|a|, |b|); infinite where one of the two is not defined.
        tag: of the figure where it is largest; empty where all are equal.
        step: likewise.
    """

    figures: int
    steps: int
    largest: float
    tag: str = ""
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class StepsRecord:
    """Signatures of one run over its steps.

    Attributes:
        schema_version: version of this layout.
        kind: ``"probe steps"``.
        provenance: versions, machine, revision, time.
        seeds: every seed, by what it seeds.
        run: the folder of the checkpoints, as it was asked for.
        origin: what trained them, and of which architecture, in words.
        parameters: how many the model has.
        classes: rows of its head; 0 without one.
        data: data set, protocol and image counts.
        conventions: sentences on how figures were taken.
        representation: name of the layer that the head reads.
        layers: every layer that was measured.
        points: by step, at least one.
        agreement: with the run's own curves; None where other things were measured, or there are none.
    """

    schema_version: int = STEPS_SCHEMA
    kind: str = STEPS_KIND
    provenance: Provenance
    seeds: Mapping[str, int]
    run: str
    origin: str
    parameters: int
    classes: int
    data: DataDescription
    conventions: tuple[str, ...]
    representation: str
    layers: tuple[ProbedLayer, ...]
    points: tuple[ProbedStep, ...]
    agreement: Agreement | None = field(default=None)

    def rows(self) -> list[dict[str, str | int | float | None]]:
        """Every figure as a row ``step, tag, value``, for `write_table`; None where one is not defined."""
        return [
            {"step": point.step, "tag": tag, "value": None if value != value else value}
            for point in self.points
            for tag, value in point.figures.items()
        ]


def write_steps(record: StepsRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_steps(path: str | os.PathLike[str]) -> StepsRecord:
    """Read a ``results.json`` of ``probe`` over steps.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    what = "a results.json of probe over the steps of a run"
    return read_record(StepsRecord, path, STEPS_SCHEMA, what, "probe over the steps of a run")
