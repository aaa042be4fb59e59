"""Spectra of features and weights, and the importance of the head's directions (METHODS 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torchmetrics import Metric

from lightning_robust.callbacks.signature import Reading, Signature
from lightning_robust.callbacks.weights import FollowedWeights
from lightning_robust.signatures import DirectionImportance, FeatureSpectrum
from lightning_robust.signatures.controlled_importance import ImportanceWithControls, importance_with_controls_report
from lightning_robust.signatures.importance_controls import ImportanceControls


class SpectrumSignature(Signature):
    """Spectrum of the features, importance of directions for the raw and the centred head, spectra of named weights.

    Args:
        head: Name of the head's module; None asks the measured module's `head_weight()`. Without a head there is no
            importance. It is measured on the layers whose width the head reads.
        weights: Names of matrices whose spectra are followed, wildcards or `"all"`; see `FollowedWeights`.
        followed: The same with θ0 and what was measured before; None measures the weights as they are.
        controls: Whether random heads, random rotations and reduced-rank regression are measured beside the head.
    """

    def __init__(
        self,
        head: str | None = None,
        weights: Sequence[str] = (),
        followed: FollowedWeights | None = None,
        controls: bool = False,
    ) -> None:
        super().__init__(head)
        self.controls = controls
        self._made: dict[str, ImportanceControls] = {}
        self.followed = followed if followed is not None else FollowedWeights(weights)

    def metrics(self, module: Any, layer: str, d: int, *, synchronise: bool) -> dict[str, Metric]:
        """The spectrum, and the importance where the layer is as wide as the head."""
        made: dict[str, Metric] = {"spectrum": FeatureSpectrum(sync_on_compute=synchronise)}
        W = self.head_of_width(module, d)
        if W is not None:
            made["importance_raw"] = DirectionImportance(W, sync_on_compute=synchronise)
            made["importance_centred"] = DirectionImportance(W, centred=True, sync_on_compute=synchronise)
            if self.controls:
                # ":input" is what the head reads, whatever was done to it; a head of the module's own is a CLIP's,
                # which scales h to unit length first; one given by name reads what it is given
                unit_norm = self.head is None and not layer.endswith(":input")
                self._made[layer] = ImportanceControls(W, unit_norm=unit_norm, sync_on_compute=synchronise)
                made["controls"] = self._made[layer]
        return made

    def read(self, layer: str, computed: Mapping[str, Any]) -> Reading:
        """Tags `spectrum/…` and `importance/…`."""
        spectrum = computed["spectrum"]
        names = ("rankme", "covariance_effective_rank", "participation_ratio")
        reading = Reading(
            {f"spectrum/{layer}/{name}": float(spectrum[name]) for name in names}
            | {f"not_finite/{layer}/spectrum": float(spectrum["not_finite"])},
            {f"spectrum/{layer}/eigenvalues": _numbers(spectrum["eigenvalues"])},
        )
        for head in ("raw", "centred"):
            found = computed.get(f"importance_{head}")
            if found is not None:
                reading.scalars[f"importance/{layer}/{head}/max_over_median"] = float(found["max_over_median"])
                reading.scalars[f"importance/{layer}/{head}/privileged"] = float(found["privileged"].sum())
                reading.curves[f"importance/{layer}/{head}/directions"] = sorted(
                    _numbers(found["normalised"]), reverse=True
                )
        if "controls" in computed:
            report = importance_with_controls_report(computed["controls"], self._made[layer])
            reading.scalars |= control_figures(report, layer)
        return reading

    def check(self, module: Any) -> None:
        """Look for head and weights."""
        super().check(module)
        self.followed.matrices(module)

    def read_weights(self, module: Any) -> Reading:
        """Tags `weights/…`: ranks and tail exponent of each matrix, and of its change where training was begun."""
        return self.followed.read(module)


def control_figures(report: ImportanceWithControls, layer: str) -> dict[str, float]:
    """Figures by tag of the controls of importance, and of the head what only they are compared with.

    Args:
        report: The head beside its controls.
        layer: The layer whose features the head reads.
    """
    figures = {}
    for row in report.table():
        place = f"importance/{layer}/{row['form']}"
        if row["head"] != "head":
            place += f"/{str(row['head']).replace(' ', '_').replace('-', '_')}"
            figures[f"{place}/max_over_median"] = float(row["max_over_median"])
            figures[f"{place}/privileged"] = float(row["privileged"])
        figures[f"{place}/directions_for_90"] = float(row["directions_for_90"])
    return figures


def _numbers(values: Tensor) -> list[float]:
    return [float(v) for v in values.reshape(-1).tolist()]  # one wait for a GPU, not one for each
