"""The diagnosis of a model by a calibration: prediction, interval, distance, verdict with its reasons."""

import math
from collections.abc import Mapping

from lightning_robust.results.diagnosis_record import CalibrationRecord, DiagnosedModel
from lightning_robust.results.diagnosis_sentence import points
from lightning_robust.robustness.diagnosis_distance import limit_left_out, table_distance
from lightning_robust.robustness.diagnosis_fit import fit_table
from lightning_robust.robustness.diagnosis_predictors import on_scale
from lightning_robust.robustness.diagnosis_verdict import calibration_usable, contributions_said, verdict

__all__ = ["FittedDiagnosis", "diagnose_row"]


class FittedDiagnosis:
    """A calibration made ready to diagnose models, fitted from its points once.

    Two made of one calibration, written to its file and read again in between or not, say the same to the last bit.

    Args:
        calibration: the calibration.

    Raises:
        ValueError: its points are of fewer than four families, or it does not say how well it does.
    """

    def __init__(self, calibration: CalibrationRecord) -> None:
        if not calibration.skills:
            raise ValueError(f"the calibration {calibration.name} holds no skill: make it again from its study")
        self.calibration = calibration
        self._fit = fit_table(calibration.points, calibration.figures)
        self._ridge = self._fit.ridge()
        self._distance = table_distance(self._fit.left_out.rows)
        self._farthest = limit_left_out(self._fit.left_out.rows, calibration.level)
        raw = self._fit.raw.x
        self._range = dict(zip(self._fit.figures, zip(raw.min(axis=0), raw.max(axis=0), strict=True), strict=True))
        self._bounds = {
            tag: [pick(point.figures[tag] for point in self._fit.points) for pick in (min, max)]
            for tag in self._fit.figures
        }

    def diagnose(
        self,
        figures: Mapping[str, float],
        *,
        name: str = "",
        origin: str = "",
        checkpoint_hash: str = "",
        family: str = "",
    ) -> DiagnosedModel:
        """Diagnose one model.

        Args:
            figures: what was measured of it on reference images, by canonical tag.
            name: of the model.
            origin: where its weights come from.
            checkpoint_hash: SHA-256 of them.
            family: the table's family that it belongs to, where the calibration is one without it; else empty.

        Returns:
            Its diagnosis. Where a figure is missing or not defined there is no prediction, and the verdict is
            *undetermined*.
        """
        figures = {tag: float(value) for tag, value in figures.items()}
        identity = {"name": name, "origin": origin, "checkpoint_hash": checkpoint_hash, "family": family}
        against = list(calibration_usable(self.calibration.skills[0])[1])
        if lacking := self._lacking(figures):
            return DiagnosedModel(
                **identity,
                figures=figures,
                predicted=math.nan,
                low=math.nan,
                high=math.nan,
                distance=math.nan,
                farthest=self._farthest,
                outside=(),
                contributions={},
                verdict="undetermined",
                reasons=(*lacking, *against),
            )
        return self._diagnosed(figures, identity, against)

    def _lacking(self, figures: Mapping[str, float]) -> list[str]:
        absent = [tag for tag in self._fit.figures if tag not in figures]
        undefined = [tag for tag in self._fit.figures if tag in figures and math.isnan(on_scale(tag, figures[tag]))]
        said = [f"Not measured: {', '.join(absent)}."] if absent else []
        return said + ([f"Not defined for this model: {', '.join(undefined)}."] if undefined else [])

    def _diagnosed(
        self, figures: Mapping[str, float], identity: Mapping[str, str], against: list[str]
    ) -> DiagnosedModel:
        level = self.calibration.level
        z = self._fit.standardised(figures)
        parts = (self._ridge.coef_ * z).tolist()
        contributions = dict(zip(self._fit.figures, parts, strict=True))
        predicted = float(self._ridge.intercept_) + math.fsum(parts)
        low, high = self._fit.left_out.interval_at(z, level)
        distance = float(self._distance.of(z))
        outside = tuple(
            tag for tag, (least, most) in self._range.items() if not least <= on_scale(tag, figures[tag]) <= most
        )
        if distance > self._farthest:
            against = [
                f"It is unlike the table: {distance:.1f} from its mean, where {100 * level:.0f} % of what a family "
                f"that was left out has lie at most {self._farthest:.1f} away.",
                *against,
            ]
        said, sentence = verdict(low, high, self.calibration.margin, level, against)
        return DiagnosedModel(
            **identity,
            figures=figures,
            predicted=predicted,
            low=low,
            high=high,
            distance=distance,
            farthest=self._farthest,
            outside=outside,
            contributions=contributions,
            verdict=said,
            reasons=(
                f"Predicted effective robustness: {points(predicted, digits=1)} points.",
                sentence,
                *against,
                *(self._said_outside(tag, figures[tag]) for tag in outside),
                contributions_said(contributions),
            ),
        )

    def _said_outside(self, tag: str, value: float) -> str:
        least, most = self._bounds[tag]
        return f"Outside the table's range: {tag} is {value:.3g}, and its rows have {least:.3g} to {most:.3g}."


def diagnose_row(
    calibration: CalibrationRecord,
    figures: Mapping[str, float],
    *,
    name: str = "",
    origin: str = "",
    checkpoint_hash: str = "",
    family: str = "",
) -> DiagnosedModel:
    """Diagnose one model; for several by one calibration, `FittedDiagnosis` fits once.

    Args:
        calibration: the calibration.
        figures: what was measured of the model on reference images, by canonical tag.
        name: of the model.
        origin: where its weights come from.
        checkpoint_hash: SHA-256 of them.
        family: the table's family that it belongs to, where the calibration is one without it; else empty.

    Raises:
        ValueError: the calibration's points are of fewer than four families.
    """
    fitted = FittedDiagnosis(calibration)
    return fitted.diagnose(figures, name=name, origin=origin, checkpoint_hash=checkpoint_hash, family=family)
