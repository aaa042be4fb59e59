"""The record of `diagnose`: every model predicted from the table without its own family."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lightning_robust.cli.diagnose_family import known_family, without_family
from lightning_robust.cli.diagnose_measured import Measured
from lightning_robust.errors import UserError
from lightning_robust.results import DataDescription, collect_provenance
from lightning_robust.results.diagnosis_record import CalibrationRecord, DiagnosedModel, DiagnosisRecord, PredictorSkill
from lightning_robust.robustness.diagnosis import diagnose_row

__all__ = ["diagnosis_record"]


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
    models = tuple(_diagnosed(one, calibration) for one in measured)
    first = measured[0].record
    return DiagnosisRecord(
        provenance=collect_provenance(device=first.provenance.device),
        seeds=dict(first.seeds) | dict(calibration.seeds),
        data=DataDescription(dataset=first.data.dataset, protocol=first.data.protocol, images=dict(first.data.images)),
        conventions=tuple(dict.fromkeys(_conventions(measured, calibration))),
        calibration=calibration.name,
        calibration_hash="",
        skill=_skill(calibration),
        models=models,
        skills=calibration.skills,
        points=calibration.points,
    )


def _skill(calibration: CalibrationRecord) -> PredictorSkill:
    found = next((one for one in calibration.skills if one.role == "diagnosis"), None)
    if found is None:
        raise UserError(
            f"the table {calibration.name} says nothing of how well it predicts: make it again with --study FOLDER "
            "--save FILE"
        )
    return found


def _diagnosed(one: Measured, calibration: CalibrationRecord) -> DiagnosedModel:
    model = one.record.model
    family = known_family(one.name, model.checkpoint_hash, calibration.points)
    table = without_family(calibration, family) if family else calibration
    found = diagnose_row(table, one.figures)
    reasons = found.reasons
    if family:
        reasons = (*reasons, f"The table knows its family, {family}, which was left out of this prediction.")
    return replace(
        found, name=one.name, origin=model.origin, checkpoint_hash=model.checkpoint_hash, reasons=reasons, family=family
    )


def _conventions(measured: Sequence[Measured], calibration: CalibrationRecord) -> Iterator[str]:
    yield from calibration.conventions
    if calibration.baseline is not None:
        yield f"effective robustness in the table: against {calibration.baseline}"
    for one in measured:
        yield from one.record.conventions
