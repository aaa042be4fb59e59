"""``calibration.json`` and ``results.json`` of ``diagnose``: robustness predicted from reference images alone."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_robust.results.choices import Interval
from lightning_robust.results.provenance import Provenance
from lightning_robust.results.record_file import read_record, write_record
from lightning_robust.results.run_record import DataDescription

__all__ = [
    "DIAGNOSIS_SCHEMA",
    "VERDICTS",
    "CalibrationRecord",
    "Coverage",
    "DiagnosedModel",
    "DiagnosisRecord",
    "PredictorSkill",
    "TrainingPoint",
    "read_calibration",
    "read_diagnosis",
    "write_calibration",
    "write_diagnosis",
]

DIAGNOSIS_SCHEMA = 1
#: What a diagnosis can say.
VERDICTS = ("robust", "not robust", "undetermined")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many prediction intervals held what was measured, each of a family that the prediction had not seen.

    Attributes:
        held: intervals that did. total: intervals in all.
        low, high: Wilson's 95 % interval of the share.
        nominal: the share that was aimed at.
    """

    held: int
    total: int
    low: float
    high: float
    nominal: float


@dataclass(frozen=True, kw_only=True)
class PredictorSkill:
    """How well something predicts effective robustness of families that it was not fitted on.

    Attributes:
        name: ``"diagnosis"`` for the whole, or the figure's tag for a rival or a single figure alone.
        role: ``"diagnosis"``, ``"rival"`` or ``"single figure"``.
        figures: tags that it is computed from.
        correlation: Spearman's, of held-out prediction and measurement over all rows, with a bootstrap over families.
        r_squared: of the held-out predictions, at most 1; negative where the mean of the others is better.
        between_families: Spearman's over the families' means. within_families: the mean over families of Spearman's
            inside each, families with fewer than three rows left out; NaN estimate where none has them.
        coverage: of the prediction intervals; None for what has none.
        rows, families: how many it was judged on.
        coverage_by_family: the same with one row of each family, the pretrained model itself where it is there: rows
            of one family miss together, families do not. None for what has none.
        pretrained: Spearman's over zero-shot rows alone, one of each family: whether it ranks pretrained models among
            each other, and does not just tell them from others. None where no family has one.
    """

    name: str
    role: str
    figures: tuple[str, ...]
    correlation: Interval
    r_squared: float
    between_families: Interval
    within_families: Interval
    coverage: Coverage | None
    rows: int
    families: int
    coverage_by_family: Coverage | None = None
    pretrained: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """A row of the study's table that the prediction was fitted on.

    Attributes:
        name: of the row. family: its family. kind: what it is.
        figures: the predictors and their rivals, by tag.
        target: measured effective robustness, a fraction.
        predicted: without its family. low, high: the prediction interval without its family.
        checkpoint_hash: SHA-256 of its weights, by which a model is known again; empty where nobody said.
        extrapolated: whether its reference accuracy lies outside those of the baseline's models, so that the target is
            an extrapolation.
        margin: its target less the low end of that one's prediction interval, which a standard model of its accuracies
            may show by chance; None where nobody said.
    """

    name: str
    family: str
    kind: str
    figures: Mapping[str, float]
    target: float
    predicted: float
    low: float
    high: float
    checkpoint_hash: str = ""
    extrapolated: bool = False
    margin: float | None = None


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """What a prediction is made of: the table's rows, and how well it does on families that it has not seen.

    Attributes:
        schema_version: version of this layout. kind: ``"calibration"``.
        name: of the study. provenance: versions, machine, revision, time. seeds: every seed, by what it seeds.
        data: data set, protocol and image counts of the study. conventions: sentences on how it was made.
        baseline: the baseline of effective robustness in words.
        target: tag of what is predicted, ``er/mean``.
        figures: tags of the predictors, in order.
        penalty: of the ridge regression, chosen by families inside the table.
        level: nominal coverage of the intervals.
        points: rows of the table. left_out: rows that could not be used, with the reason, by name.
        skills: the diagnosis, its rivals, and each figure alone.
        usable: whether a verdict may be given at all. reasons: why not, or what limits it, in sentences.
        margin: effective robustness above which a model of the table is more robust than a standard model can be by
            chance: the median over its rows of ``er/mean`` less the low end of its prediction interval; 0 without one.
        rivals: tags of the figures that the diagnosis is compared with.
    """

    schema_version: int = DIAGNOSIS_SCHEMA
    kind: str = "calibration"
    name: str
    provenance: Provenance
    seeds: Mapping[str, int]
    data: DataDescription
    conventions: tuple[str, ...]
    baseline: str | None
    target: str
    figures: tuple[str, ...]
    penalty: float
    level: float
    points: tuple[TrainingPoint, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    skills: tuple[PredictorSkill, ...]
    usable: bool
    reasons: tuple[str, ...]
    margin: float = 0.0
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DiagnosedModel:
    """The diagnosis of one model.

    Attributes:
        name: as it was asked for. origin: where its weights come from. checkpoint_hash: SHA-256 of the weights.
        figures: what was measured on reference images, by tag.
        predicted: effective robustness, a fraction; NaN where it cannot be predicted. low, high: its interval.
        distance: from the table, in units in which its rows have a mean square of 1 (Mahalanobis distance over the
            square root of the number of figures). farthest: up to where it is like the table: the interval's level of
            rows of left-out families lie within, or the farthest of them where families are too few for that.
        outside: tags of figures outside the table's range.
        contributions: by tag, what each figure adds to the prediction over the table's mean, a fraction.
        verdict: one of `VERDICTS`. reasons: sentences.
        family: the table's family that it belongs to, which was left out of its prediction; empty for a model that
            the table does not know.
    """

    name: str
    origin: str
    checkpoint_hash: str
    figures: Mapping[str, float]
    predicted: float
    low: float
    high: float
    distance: float
    farthest: float
    outside: tuple[str, ...]
    contributions: Mapping[str, float]
    verdict: str
    reasons: tuple[str, ...]
    family: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}, got {self.verdict!r}")


@dataclass(frozen=True, kw_only=True)
class DiagnosisRecord:
    """Diagnoses of some models by one calibration.

    Attributes:
        schema_version: version of this layout. kind: ``"diagnosis"``.
        provenance: versions, machine, revision, time. seeds: every seed, by what it seeds.
        data: the reference images. conventions: sentences on how figures were taken.
        calibration: its name. calibration_hash: SHA-256 of its file. skill: that of the diagnosis in the table.
        models: the models.
        skills: that of everything which was judged in the table: the diagnosis, its rivals, each figure alone.
        points: rows of the table, each predicted without its family.
        margin: effective robustness that verdicts are judged by, see `CalibrationRecord`.
    """

    schema_version: int = DIAGNOSIS_SCHEMA
    kind: str = "diagnosis"
    provenance: Provenance
    seeds: Mapping[str, int]
    data: DataDescription
    conventions: tuple[str, ...]
    calibration: str
    calibration_hash: str
    skill: PredictorSkill
    models: tuple[DiagnosedModel, ...]
    skills: tuple[PredictorSkill, ...] = ()
    points: tuple[TrainingPoint, ...] = ()
    margin: float = 0.0


def write_calibration(record: CalibrationRecord, path: str | os.PathLike[str]) -> None:
    """Write a calibration, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_calibration(path: str | os.PathLike[str]) -> CalibrationRecord:
    """Read a calibration.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(CalibrationRecord, path, DIAGNOSIS_SCHEMA, "a calibration of diagnose", "diagnose")


def write_diagnosis(record: DiagnosisRecord, path: str | os.PathLike[str]) -> None:
    """Write ``results.json``, whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_record(record, path)


def read_diagnosis(path: str | os.PathLike[str]) -> DiagnosisRecord:
    """Read a ``results.json`` of ``diagnose``.

    Raises:
        UserError: there is none at ``path``, it is no JSON, no such record, or of a newer version.
    """
    return read_record(DiagnosisRecord, path, DIAGNOSIS_SCHEMA, "a results.json of diagnose", "diagnose")
