"""Frozen records with provenance, and their atomic reading and writing. Imports no other room, and no torch."""

from lightning_robust.results.atomic import atomic_path, atomic_write
from lightning_robust.results.choices import AlphaChoice, Interval
from lightning_robust.results.curves import CURVE_COLUMNS, CurveFile, CurveRow, read_curves
from lightning_robust.results.hashing import file_sha256
from lightning_robust.results.provenance import Provenance, collect_provenance
from lightning_robust.results.run_record import (
    RUN_SCHEMA,
    AlphaRow,
    DataDescription,
    RunRecord,
    read_run,
    write_run,
)

__all__ = [
    "CURVE_COLUMNS",
    "RUN_SCHEMA",
    "AlphaChoice",
    "AlphaRow",
    "CurveFile",
    "CurveRow",
    "DataDescription",
    "Interval",
    "Provenance",
    "RunRecord",
    "atomic_path",
    "atomic_write",
    "collect_provenance",
    "file_sha256",
    "read_curves",
    "read_run",
    "write_run",
]
