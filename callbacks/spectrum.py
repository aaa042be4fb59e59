"""Spectra of features and weights, and the importance of the head's directions (METHODS 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_robust.callbacks.signature import Reading, Signature, head_weight
from torch import Tensor
from torchmetrics import Metric

from lightning_robust.errors import UserError
from lightning_robust.signatures import DirectionImportance, FeatureSpectrum, matrix_spectrum


class SpectrumSignature(Signature):
    """Spectrum of the features, importance of directions for the raw and the centred head, spectra of named weights.

    Args:
        head: Name of the head's module; None asks the measured module's `head_weight()`. Without a head there is no
            importance. It is measured on the layers whose width the head reads.
        weights: Names of parameters whose spectra are followed.
    """

    def __init__(self, head: str | None = None, weights: Sequence[str] = ()) -> None:
        super().__init__(head)
        self.weights = tuple(weights)

    def metrics(self, module: Any, layer: str, d: int) -> dict[str, Metric]:
        """The spectrum, and the importance where the layer is as wide as the head."""
        del layer
        made: dict[str, Metric] = {"spectrum": FeatureSpectrum()}
        W = head_weight(module, self.head)
        if W is not None and W.shape[1] == d:
            made["importance_raw"] = DirectionImportance(W)
            made["importance_centred"] = DirectionImportance(W, centred=True)
        return made

    def read(self, layer: str, computed: Mapping[str, Any]) -> Reading:
        """Tags `spectrum/…` and `importance/…`."""
        spectrum = computed["spectrum"]
        names = ("rankme", "covariance_effective_rank", "participation_ratio")
        reading = Reading(
            {f"spectrum/{layer}/{name}": float(spectrum[name]) for name in names},
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
        return reading

    def read_weights(self, module: Any) -> Reading:
        """Tags `weights/…`: ranks and tail exponent of each named parameter."""
        parameters, reading = dict(module.named_parameters()), Reading()
        for name in self.weights:
            if name not in parameters:
                matrices = [key for key, value in parameters.items() if value.ndim >= 2]
                raise UserError(f"{type(module).__name__} has no weight {name!r}; it has: {', '.join(matrices[-5:])} …")
            found = matrix_spectrum(parameters[name])
            reading.scalars[f"weights/{name}/stable_rank"] = found.stable_rank
            reading.scalars[f"weights/{name}/effective_rank"] = found.effective_rank
            reading.scalars[f"weights/{name}/alpha"] = found.alpha
            reading.curves[f"weights/{name}/singular_values"] = _numbers(found.singular_values)
        return reading


def _numbers(values: Tensor) -> list[float]:
    return [float(v) for v in values.reshape(-1)]
