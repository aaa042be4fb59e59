"""Frozen records with provenance, and their atomic reading and writing. Imports no other room, and no torch."""

from lightning_robust.results.atomic import atomic_path, atomic_write
from lightning_robust.results.baseline_record import (
    BASELINE_SCHEMA,
    BaselineRecord,
    ModelAccuracies,
    read_baseline,
    write_baseline,
)
from lightning_robust.results.cache import cache_folder
from lightning_robust.results.choices import AlphaChoice, Interval
from lightning_robust.results.compress_record import (
    COMPRESS_SCHEMA,
    CompressedPoint,
    CompressRecord,
    Latency,
    read_compression,
    write_compression,
)
from lightning_robust.results.curves import CURVE_COLUMNS, CurveFile, CurveRow, read_curves
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
from lightning_robust.results.evaluation_record import (
    EVALUATION_SCHEMA,
    AccuracyRow,
    Difference,
    EvaluationRecord,
    ModelEvaluation,
    read_evaluation,
    write_evaluation,
)
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
from lightning_robust.results.pruned_headline import PrunedHeadline
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
    "BASELINE_SCHEMA",
    "COMPRESS_SCHEMA",
    "CURVE_COLUMNS",
    "EVALUATION_SCHEMA",
    "PROBE_SCHEMA",
    "RUN_SCHEMA",
    "AccuracyRow",
    "AlphaChoice",
    "AlphaRow",
    "BaselineRecord",
    "CompressRecord",
    "CompressedPoint",
    "ConceptEntry",
    "CurveFile",
    "CurveRow",
    "DataDescription",
    "Difference",
    "DirectionConcepts",
    "EffectiveRobustness",
    "EvaluationRecord",
    "Interval",
    "Latency",
    "ModelAccuracies",
    "ModelDescription",
    "ModelEvaluation",
    "ProbeRecord",
    "ProbedLayer",
    "Provenance",
    "PrunedHeadline",
    "RunRecord",
    "ShiftRobustness",
    "atomic_path",
    "atomic_write",
    "cache_folder",
    "collect_provenance",
    "file_sha256",
    "read_baseline",
    "read_compression",
    "read_curves",
    "read_evaluation",
    "read_probe",
    "read_run",
    "write_baseline",
    "write_compression",
    "write_evaluation",
    "write_probe",
    "write_run",
    "write_table",
]
