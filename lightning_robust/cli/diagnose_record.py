"""The record of `diagnose`: every model predicted from the table without its own family."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lightning_robust.cli.diagnose_measured import Measured
from lightning_robust.errors import UserError
from lightning_robust.report.probe_table import CONCEPT_IMAGES
from lightning_robust.results import DataDescription, ProbeRecord, collect_provenance
from lightning_robust.results.diagnosis_record import CalibrationRecord, DiagnosedModel, DiagnosisRecord, PredictorSkill
from lightning_robust.robustness.diagnosed import FittedDiagnosis
from lightning_robust.robustness.diagnosis import without_family
from lightning_robust.robustness.diagnosis_family import known_family

__all__ = ["diagnosis_record"]

_PROBED = "probe: "  # how a study names the images that signatures are of


def diagnosis_record(measured: Sequence[Measured], calibration: CalibrationRecord) -> DiagnosisRecord:
    """Predict every model.

    Args:
        measured: What was measured, at least one model.
        calibration: The table.

    Returns:
        The record, still without the hash of the table's file.

    Raises:
        UserError: If the table was not judged, so that nothing says how far to trust it.
    """
    tables = _Tables(calibration)
    first = measured[0].record
    return DiagnosisRecord(
        provenance=collect_provenance(device=first.provenance.device),
        seeds=dict(first.seeds) | dict(calibration.seeds),
        data=DataDescription(dataset=first.data.dataset, protocol=first.data.protocol, images=dict(first.data.images)),
        conventions=tuple(dict.fromkeys(_conventions(measured, calibration))),
        calibration=calibration.name,
        calibration_hash="",
        skill=_skill(calibration),
        models=tuple(tables.diagnosed(one) for one in measured),
        skills=calibration.skills,
        points=calibration.points,
        margin=calibration.margin,
    )


def _skill(calibration: CalibrationRecord) -> PredictorSkill:
    found = next((one for one in calibration.skills if one.role == "diagnosis"), None)
    if found is None:
        raise UserError(
            f"the table {calibration.name} says nothing of how well it predicts: make it again with --study FOLDER "
            "--save FILE"
        )
    return found


class _Tables:
    """The table, and what is left of it without a family, each fitted once."""

    def __init__(self, calibration: CalibrationRecord) -> None:
        self._calibration = calibration
        self._fitted: dict[str, FittedDiagnosis] = {}

    def diagnosed(self, one: Measured) -> DiagnosedModel:
        """The diagnosis of a model by the table without its family."""
        model = one.record.model
        family = known_family(one.name, model.checkpoint_hash, self._calibration.points)
        found = self._without(family).diagnose(
            one.figures, name=one.name, origin=model.origin, checkpoint_hash=model.checkpoint_hash, family=family
        )
        said = [f"The table knows its family, {family}, which was left out of this prediction."] if family else []
        return replace(found, reasons=(*found.reasons, *_other_images(one.record, self._calibration), *said))

    def _without(self, family: str) -> FittedDiagnosis:
        if family not in self._fitted:
            table = without_family(self._calibration, family) if family else self._calibration
            self._fitted[family] = FittedDiagnosis(table)
        return self._fitted[family]


def _other_images(record: ProbeRecord, calibration: CalibrationRecord) -> Iterator[str]:
    """Tell where other images were looked at than the table's models were measured on, or fewer of them."""
    table = {
        source.removeprefix(_PROBED): count
        for source, count in calibration.data.images.items()
        if source.startswith(_PROBED) and not source.endswith(CONCEPT_IMAGES)
    }
    if table and not dict(record.data.images).items() <= table.items():
        here, there = (_counted(images) for images in (record.data.images, table))
        yield f"Measured on {here}, and the table on {there}: figures such as RankMe depend on the images."


def _counted(images: Mapping[str, int]) -> str:
    return " and ".join(f"{count:,} images ({source})" for source, count in images.items())


def _conventions(measured: Sequence[Measured], calibration: CalibrationRecord) -> Iterator[str]:
    yield from calibration.conventions
    if calibration.baseline is not None:
        yield f"effective robustness in the table: against {calibration.baseline}"
    for one in measured:
        yield from one.record.conventions
