"""`Diagnosis`: effective robustness predicted from reference images alone, after each validation (METHODS 7)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from lightning_robust.callbacks.collector import Collector
from lightning_robust.callbacks.diagnosis_figures import (
    HEAD,
    HeadAndWeights,
    needed_kinds,
    needed_layers,
    needs_controls,
)
from lightning_robust.callbacks.monitor import SignatureMonitor
from lightning_robust.callbacks.shares import Share
from lightning_robust.callbacks.signature import Reading
from lightning_robust.callbacks.sources import VALIDATION
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.modes import kept_random_state
from lightning_robust.models.network import blocks_of
from lightning_robust.results.diagnosis_record import CalibrationRecord, DiagnosedModel
from lightning_robust.results.diagnosis_sentence import verdict_sentence
from lightning_robust.robustness.calibration_files import load_calibration
from lightning_robust.robustness.diagnosed import FittedDiagnosis
from lightning_robust.robustness.diagnosis import without_family
from lightning_robust.robustness.diagnosis_family import known_family
from lightning_robust.robustness.reference_figures import reference_figures

_PREFIX: Final = "diagnosis"
_CODES: Final = {"robust": 1.0, "undetermined": 0.0, "not robust": -1.0}


class Diagnosis(SignatureMonitor):
    """Predicts effective robustness from what the reference's validation images show, beside the one that is measured.

    It measures as `SignatureMonitor` does, in the validation that runs anyway, and needs no shifted image: the figures
    of a study's table are measured of the model as it is now, and the table says what models with such figures reached.
    Where training begins with weights that the table knows, their family is left out of the prediction. The study
    was measured on test images of the reference, so that figures differ from these by the draw of the images.

    Unlike effective robustness, these figures may be watched by EarlyStopping and ModelCheckpoint: no shift is looked
    at. With TensorBoard the verdict and its reasons are text under `diagnosis/words`. On a Wise-FT path every α has
    them.

    Logged tags:
        `diagnosis/er/predicted`: effective robustness as it is predicted, a fraction; NaN where it cannot be.
        `diagnosis/er/low`: lower end of its prediction interval, −∞ where the table has too few families for one.
        `diagnosis/er/high`: upper end.
        `diagnosis/distance`: from the table, in units in which its rows have a mean square of 1.
        `diagnosis/verdict`: 1 for robust, −1 for not robust, 0 for undetermined, as it always is on other data
            than the table's.

    Args:
        study: The table: `"scenes"`, which ships, a study's folder or `study.json`, or a file of `diagnose --save`.
        layers: Layers of the LightningModule in order, the representation that the head reads last. None takes its
            stages or blocks and its `representation_layer`.
        images: As `SignatureMonitor`'s.
        every_n_epochs: Likewise.
        every_n_steps: Likewise.
        head: Name of the linear head; None asks the module's `head_weight()`.
        seed: Of random controls and, where the table is a study's, of the intervals of its skill.
        prefix: Put before every tag, as `<prefix>/diagnosis/…`: for a second one with another table.

    Raises:
        UserError: If there is no such table, a figure that it needs cannot be measured of this module, or as
            `SignatureMonitor`.
    """

    def __init__(
        self,
        study: str | Path = "scenes",
        layers: Sequence[str] | None = None,
        images: Any = VALIDATION,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        head: str | None = None,
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        #: The table that predictions are made from.
        self.calibration: CalibrationRecord
        self.calibration, self._table_hash = load_calibration(study, seed=seed)
        kinds = needed_kinds(self.calibration.figures)
        if not kinds:
            raise UserError(f"the table {self.calibration.name} predicts from no figure of images, so none is measured")
        #: The last diagnosis.
        self.latest: DiagnosedModel | None = None
        super().__init__(
            signatures=kinds, layers=layers, images=images, every_n_epochs=every_n_epochs,
            every_n_steps=every_n_steps, head=head, controls=needs_controls(self.calibration.figures), seed=seed,
            prefix=f"{prefix}/{_PREFIX}" if prefix else _PREFIX,
        )  # fmt: skip
        #: The table's family that training begins with, which is left out; None for weights that it does not know.
        self.family: str | None = None
        self._fitted: FittedDiagnosis | None = None
        self._measured_layers: tuple[str, ...] = ()
        self._told = False
        self._elsewhere = ""

    @property
    def state_key(self) -> str:
        """Two with different tables keep their states apart in one checkpoint."""
        return f"{super().state_key}, table {self._table_hash}"

    @property
    def convention(self) -> str:
        """How predictions are made, in a sentence for the record of a run."""
        points = self.calibration.points
        without = f", without the family {self.family}" if self.family else ""
        return (
            f"{self.prefix}: predicted by the table {self.calibration.name} (SHA-256 {self._table_hash[:12]}), "
            f"{len(points)} rows of {len({point.family for point in points})} families{without}, from "
            f"{', '.join(self.calibration.figures)}; no shifted image is looked at"
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another run's figures, and leave out the family that this one begins with."""
        super().setup(trainer, pl_module, stage)
        self.latest = None
        self._elsewhere = ""
        with kept_random_state(), from_user(ValueError):
            self.family = family = _family(pl_module, self.calibration)
            table = self.calibration if family is None else without_family(self.calibration, family)
            self._fitted = FittedDiagnosis(table)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell where these data are not those of the table, of which no verdict is given then."""
        super().on_fit_start(trainer, pl_module)
        here, there = getattr(getattr(trainer, "datamodule", None), "description", None), self.calibration.data.dataset
        if isinstance(here, str) and here != there:
            self._elsewhere = (
                f"the table {self.calibration.name} was measured on {there} and these data are {here}: its predictions "
                "do not hold for other images"
            )
            rank_zero_warn(self._elsewhere)

    def layers_of(self, module: Any) -> Sequence[str]:
        """The layers to measure, the representation last.

        Raises:
            UserError: If none are given and the module names no `representation_layer`.
        """
        own = super().layers_of(module)
        if self.layers is not None:
            return own
        h = str(own[-1])
        reader, read, _ = h.partition(":input")
        below = reader.rpartition(".")[0] if read else h
        return needed_layers(self.calibration.figures, [*blocks_of(module, below), h])

    def collector(self, trainer: Trainer, module: nn.Module, layers: Sequence[str], share: Share) -> Collector:
        """Make a collector that also reads the head's own figures.

        Args:
            trainer: The Trainer.
            module: What is measured.
            layers: Its layers.
            share: Which of the images are this process's own.
        """
        made = super().collector(trainer, module, layers, share)
        made.signatures = [*made.signatures, HeadAndWeights(self.calibration.figures, self.head, layers[-1])]
        self._measured_layers = tuple(layers)
        return made

    def named(self, reading: Reading) -> Reading:
        """Turn what was measured into the diagnosis.

        Args:
            reading: Figures of the layers.
        """
        layers = self._measured_layers
        with kept_random_state():
            figures = reference_figures(reading.scalars, layers, layers[-1], head=HEAD)
            fitted = self._fitted = self._fitted or FittedDiagnosis(self.calibration)
            found = fitted.diagnose(figures)
        if self._elsewhere:
            said = f"{self._elsewhere[0].upper()}{self._elsewhere[1:]}."
            found = replace(found, verdict="undetermined", reasons=(*found.reasons, said))
        self.latest = found
        scalars = {
            "er/predicted": found.predicted,
            "er/low": found.low,
            "er/high": found.high,
            "distance": found.distance,
            "verdict": _CODES[found.verdict],
        }
        return Reading(scalars, forms=reading.forms, images=reading.images).prefixed(self.prefix)

    def _publish(self, trainer: Trainer, reading: Reading, *, starting: bool = False) -> None:
        super()._publish(trainer, reading, starting=starting)
        if self.latest is None:
            return
        level = self.calibration.level
        text = "  \n".join([f"**{verdict_sentence(self.latest, level)}**", *self.latest.reasons])
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text(f"{self.prefix}/words", text, global_step=trainer.global_step)
        if math.isnan(self.latest.predicted) and not self._told:
            self._told = True
            rank_zero_warn(f"{self.prefix} predicts nothing: {' '.join(self.latest.reasons)}")


def _family(module: Any, calibration: CalibrationRecord) -> str | None:
    """The table's family that a module's weights descend from when training begins."""
    loaded = getattr(module, "loaded", None)
    begun = getattr(loaded, "checkpoint_hash", None)
    if not begun:
        return None
    descends = getattr(module, "hparams", {}).get("pretrained") is True  # else its name is one of an architecture
    return known_family(str(getattr(loaded, "name", "")) if descends else "", begun, calibration.points) or None
