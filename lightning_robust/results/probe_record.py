"""``results.json`` of ``probe``: every signature of one model, with what is needed to trust it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = [
    "PROBE_SCHEMA",
    "ConceptEntry",
    "DirectionConcepts",
    "ModelDescription",
    "ProbeRecord",
    "ProbedLayer",
    "read_probe",
    "write_probe",
]

PROBE_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """Which model was measured.

    Attributes:
        name: as it was asked for.
        origin: where its weights come from, in words.
        checkpoint_hash: SHA-256 of the weights.
        parameters: how many it has.
        classes: rows of its head; 0 without one.
    """

    name: str
    origin: str
    checkpoint_hash: str
    parameters: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class ProbedLayer:
    """A layer, and how one vector came of it.

    Attributes:
        name: layer string.
        form: axis and pooling in words, ``"768 features, mean over 50 tokens"``.
        d: features.
    """

    name: str
    form: str
    d: int


@dataclass(frozen=True, kw_only=True)
class ConceptEntry:
    """A concept that a direction ranks.

    Attributes:
        concept: its name. category: its category.
        average_precision: of the direction or its negative, in (0, 1].
        prevalence: share of positives among the known images: what random scores reach.
        sign: 1 where the direction itself ranks it, −1 where its negative does.
    """

    concept: str
    category: str
    average_precision: float
    prevalence: float
    sign: int


@dataclass(frozen=True, kw_only=True)
class DirectionConcepts:
    """A direction of the head's input, with the concepts that it ranks best.

    Attributes:
        direction: its place among the right singular vectors, 0 the largest singular value.
        importance: share of all importance, of the raw head.
        privileged: whether the rule calls it privileged.
        concepts: best first.
    """

    direction: int
    importance: float
    privileged: bool
    concepts: tuple[ConceptEntry, ...]


@dataclass(frozen=True, kw_only=True)
class ProbeRecord:
    """All signatures of one model.

    Attributes:
        schema_version: version of this layout.
        kind: ``"probe"``.
        provenance: versions, machine, revision, time.
        seeds: every seed, by what it seeds.
        model: which model.
        data: data set, protocol and image counts.
        conventions: sentences on how figures were taken.
        layers: the layers, in the model's order; the last is the representation h.
        scalars: figures by tag, as the monitors log them; NaN where one is not defined.
        curves: values by tag: spectra, importance by direction, concept counts by threshold.
        indices: coordinates by tag: which features are outliers.
        directions: the most important directions with their concepts; empty without head or concepts.
    """

    schema_version: int = PROBE_SCHEMA
    kind: str = "probe"
    provenance: Provenance
    seeds: Mapping[str, int]
    model: ModelDescription
    data: DataDescription
    conventions: tuple[str, ...]
    layers: tuple[ProbedLayer, ...]
    scalars: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]]
    indices: Mapping[str, tuple[int, ...]]
    directions: tuple[DirectionConcepts, ...] = field(default=())


def write_probe(record: ProbeRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_probe(path: str | os.PathLike[str]) -> ProbeRecord:
    """Read a ``results.json`` of ``probe``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(ProbeRecord, path, PROBE_SCHEMA, "a results.json of probe", "probe")
