"""Frozen records with provenance, and their atomic reading and writing. Imports no other room, and no torch."""

from lightning_robust.results.atomic import atomic_path, atomic_write
from lightning_robust.results.choices import AlphaChoice, Interval
from lightning_robust.results.curves import CURVE_COLUMNS, CurveFile, CurveRow, read_curves
from lightning_robust.results.hashing import file_sha256
from lightning_robust.results.probe_record import (
    PROBE_SCHEMA,
    ConceptEntry,
    DirectionConcepts,
    ModelDescription,
    ProbedLayer,
    ProbeRecord,
    read_probe,
    write_probe,
)
from lightning_robust.results.provenance import Provenance, collect_provenance
from lightning_robust.results.run_record import (
    RUN_SCHEMA,
    AlphaRow,
    DataDescription,
    RunRecord,
    read_run,
    write_run,
)
from lightning_robust.results.table_file import write_table

__all__ = [
    "CURVE_COLUMNS",
    "PROBE_SCHEMA",
    "RUN_SCHEMA",
    "AlphaChoice",
    "AlphaRow",
    "ConceptEntry",
    "CurveFile",
    "CurveRow",
    "DataDescription",
    "DirectionConcepts",
    "Interval",
    "ModelDescription",
    "ProbeRecord",
    "ProbedLayer",
    "Provenance",
    "RunRecord",
    "atomic_path",
    "atomic_write",
    "collect_provenance",
    "file_sha256",
    "read_curves",
    "read_probe",
    "read_run",
    "write_probe",
    "write_run",
    "write_table",
]
