"""``emergence.json``: how signatures and effective robustness rise in several pretrainings, side by side."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = [
    "EMERGENCE_SCHEMA",
    "EmergenceCorrelation",
    "EmergenceFinal",
    "EmergenceOnset",
    "EmergencePoint",
    "EmergenceRecord",
    "EmergenceRun",
    "read_emergence",
    "write_emergence",
]

EMERGENCE_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class EmergencePoint:
    """What was measured at one optimiser step of one run.

    Attributes:
        step: optimiser steps taken; 0 is before training.
        images: training images seen by then, repeats counted.
        figures: by tag, as the callbacks log them but for the layers, whose names are those within the image tower
            (``kurtosis/visual.layer4`` in every variant); ``train/loss`` is the mean over the steps since the point
            before, in nats. NaN where a figure is not defined; a tag that was not measured is not there.

    Raises:
        ValueError: a negative step or number of images.
    """

    step: int
    images: int
    figures: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.step < 0 or self.images < 0:
            raise ValueError(f"a point has 0 or more steps and images, got {self.step} and {self.images}")

    def value(self, tag: str) -> float:
        """A figure by its tag, NaN where it was not measured."""
        return self.figures.get(tag, math.nan)


@dataclass(frozen=True, kw_only=True)
class EmergenceRun:
    """One run of one variant.

    Attributes:
        variant: name of its config.
        seed: of its weights, images and order.
        folder: where it lies, from the working directory.
        reference: name of the reference loader.
        checkpoint: SHA-256 of the weights at its last point; None where none were kept.
        points: in the order of the steps.
    """

    variant: str
    seed: int
    folder: str
    reference: str
    checkpoint: str | None
    points: tuple[EmergencePoint, ...]


@dataclass(frozen=True, kw_only=True)
class EmergenceFinal:
    """A figure at the last point, over the seeds of a variant.

    Attributes:
        figure: its tag. variant: its variant.
        mean: over the seeds.
        half_width: half of the 95 % t-interval over the seeds; NaN for one seed.
        seeds: how many.
    """

    figure: str
    variant: str
    mean: float
    half_width: float
    seeds: int


@dataclass(frozen=True, kw_only=True)
class EmergenceOnset:
    """When a figure rises, by the rules that the record's conventions state.

    Attributes:
        figure: its tag. variant: its variant.
        change: last point minus step 0, mean over the seeds. change_half_width: half of its 95 % t-interval.
        clear: whether that interval excludes zero; for one seed, whether there is any change.
        half_rise: by seed, the images seen at the first point from which on at least half of that seed's change is
            passed at every later point; NaN where the change is not clear, and for a seed that changes the other way.
        leaves: images seen at the first point from which on, at every later point, the 95 % t-interval over the seeds
            of the change since step 0 excludes zero on the side of the last point; NaN where there is none, and for
            one seed.
        extrapolated: whether effective robustness is an extrapolation at the half-rise of any seed.
    """

    figure: str
    variant: str
    change: float
    change_half_width: float
    clear: bool
    half_rise: tuple[float, ...]
    leaves: float
    extrapolated: bool


@dataclass(frozen=True, kw_only=True)
class EmergenceCorrelation:
    """Spearman's rank correlation of a figure with mean effective robustness.

    Attributes:
        figure: its tag.
        variant: over the points of each run of this variant, which are not independent of each other; or
            ``"last points"``, over the last points of all runs.
        values: in [−1, 1], one for each seed, or the one over all runs; NaN where it is not defined.
        points: how many points each is of.
    """

    figure: str
    variant: str
    values: tuple[float, ...]
    points: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EmergenceRecord:
    """All that the comparison found.

    Attributes:
        schema_version: version of this layout.
        kind: ``"emergence"``.
        provenance: versions, machine, revision, time, of the record; each run's folder has its own.
        seeds: of the runs.
        data: data set, protocol and image counts.
        baseline: the baseline of effective robustness, in one line; None without one.
        conventions: sentences on how figures were taken and what the rules are.
        runs: by variant and seed.
        finals: every shown figure at the last point.
        onsets: when each rises.
        correlations: of each with effective robustness.
        missing: runs that are not in the record, and why, by name.
    """

    schema_version: int = EMERGENCE_SCHEMA
    kind: str = "emergence"
    provenance: Provenance
    seeds: tuple[int, ...]
    data: DataDescription
    baseline: str | None
    conventions: tuple[str, ...]
    runs: tuple[EmergenceRun, ...]
    finals: tuple[EmergenceFinal, ...] = ()
    onsets: tuple[EmergenceOnset, ...] = ()
    correlations: tuple[EmergenceCorrelation, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants, in the order of the runs."""
        return tuple(dict.fromkeys(run.variant for run in self.runs))


def write_emergence(record: EmergenceRecord, path: str | os.PathLike[str]) -> None:
    """Write ``emergence.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_emergence(path: str | os.PathLike[str]) -> EmergenceRecord:
    """Read an ``emergence.json``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(EmergenceRecord, path, EMERGENCE_SCHEMA, "a record of emergence", "emergence")
