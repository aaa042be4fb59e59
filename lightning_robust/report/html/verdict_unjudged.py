"""What a verdict says where no accuracy was tabulated: of a training's curves, a diagnosis, a study, or signatures."""

import re

from lightning_robust.report.html.blocks import number, percent
from lightning_robust.report.html.sections_study import read_correlations
from lightning_robust.report.html.sources import Found, Sources
from lightning_robust.report.html.study_said import study_sentence
from lightning_robust.results import CurveRow, ProbeRecord
from lightning_robust.results.diagnosis_record import DiagnosisRecord
from lightning_robust.results.study_record import StudyRecord

__all__ = ["unjudged"]

Card = tuple[str, str, str]
_VALIDATION = re.compile(r"val/(?!shifts/)[^/]+/accuracy")


def unjudged(found: Sources) -> tuple[str, list[Card]]:
    """Sentence and cards, from the first of these that there is.

    Args:
        found: result files in which no model was judged on test images.
    """
    if found.studies:
        return _study(found.studies[0])
    if found.diagnoses and found.diagnoses[0].record.models:
        return _diagnosis(found.diagnoses[0].record)
    for curves in found.curves:
        reference = next((row.tag for row in curves.record if _VALIDATION.fullmatch(row.tag)), None)
        if reference is not None:  # the first set that a training logs, whatever it is called
            return _curves(curves.record, reference)
    if found.probes:
        return _probe(found.probes[0].record)
    return "Undetermined: these results hold no accuracy on shifted images, and no signatures.", []


def _study(found: Found[StudyRecord]) -> tuple[str, list[Card]]:
    """How far robustness goes, and which signatures go with it."""
    record = found.record
    lead = study_sentence(record, read_correlations(found.folder))
    if record.failures:
        several = len(record.failures) > 1
        lead += f" {len(record.failures)} measurement{'s' if several else ''} failed."
    return lead, []


def _diagnosis(record: DiagnosisRecord) -> tuple[str, list[Card]]:
    model = record.models[0]
    told = {"robust": "is diagnosed as robust", "not robust": "is diagnosed as not robust"}
    lead = f"{model.name} {told.get(model.verdict, 'is of undetermined robustness')}, from reference images alone."
    if model.predicted == model.predicted:
        lead += (
            f" Predicted are {percent(model.predicted, signed=True)} points of effective robustness "
            f"({percent(model.low, signed=True)} to {percent(model.high, signed=True)})."
        )
    span = f"{percent(model.low, signed=True)} to {percent(model.high, signed=True)}"
    return lead, [("predicted effective robustness, points", percent(model.predicted, signed=True), span)]


def _curves(rows: tuple[CurveRow, ...], named: str) -> tuple[str, list[Card]]:
    """The last epoch of a training whose model was not judged on test images."""
    last = {row.tag: row for row in rows}
    reference, mean = last[named], last.get("er/mean")
    cards = [("accuracy on the reference (validation)", f"{percent(reference.value)} %", f"epoch {reference.epoch}")]
    epochs = f"{reference.epoch} epoch{'' if reference.epoch == 1 else 's'}"
    lead = f"After {epochs} {percent(reference.value)} % of the reference’s validation images are right"
    shifts = last.get("val/shifts/accuracy")
    if shifts is not None:
        lead += f", and {percent(shifts.value)} % in the mean over the shifts"
        cards.append(("mean accuracy on the shifts (validation)", f"{percent(shifts.value)} %", ""))
    if mean is None:
        return f"{lead}. Its robustness is undetermined: it was not compared with a baseline of standard models.", cards
    low, high = (last.get(f"er/mean/prediction_{end}") for end in ("low", "high"))
    span = (
        ""
        if low is None or high is None
        else f"{percent(low.value, signed=True)} to {percent(high.value, signed=True)}"
    )
    cards.append(("effective robustness, points (validation)", percent(mean.value, signed=True), span))
    if low is None or high is None:
        return f"{lead}. Its effective robustness is {percent(mean.value, signed=True)} points.", cards
    stands = "more robust than" if low.value > 0 else "less robust than" if high.value < 0 else "not told apart from"
    told = f"the model is {stands} a standard model: {percent(mean.value, signed=True)} points of effective robustness"
    return f"{lead}; on them {told} (95 % interval {span}).", cards


def _probe(record: ProbeRecord) -> tuple[str, list[Card]]:
    layer = record.layers[-1].name
    kurtosis = record.scalars.get(f"kurtosis/{layer}")
    rank = record.scalars.get(f"spectrum/{layer}/rankme")
    importance = record.scalars.get(f"importance/{layer}/raw/max_over_median")
    lead = (
        f"Robustness of {record.model.name} is undetermined: its signatures were measured, but no accuracy on "
        "shifted images."
    )
    if kurtosis is not None and kurtosis == kurtosis:
        lead += f" What its head reads has a kurtosis of {number(kurtosis)}, where a Gaussian has 3."
    cards = [("kurtosis of h", number(kurtosis), "a Gaussian gives 3"), ("RankMe of h", number(rank), "")]
    if importance is not None:
        cards.append(("importance, largest over median", number(importance), "privileged above 10"))
    return lead, [*cards, ("parameters", f"{record.model.parameters:,}", "")]
