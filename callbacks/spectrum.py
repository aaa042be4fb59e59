"""Spectra of features and weights, and the importance of the head's directions (METHODS 3)."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from torch import Tensor
from torchmetrics import Metric

from lightning_robust.callbacks.signature import Reading, Signature, off_mps
from lightning_robust.errors import UserError
from lightning_robust.signatures import DirectionImportance, FeatureSpectrum, matrix_spectrum
from lightning_robust.signatures.layers import plain_name


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

    def metrics(self, module: Any, layer: str, d: int, *, synchronise: bool) -> dict[str, Metric]:
        """The spectrum, and the importance where the layer is as wide as the head."""
        del layer
        made: dict[str, Metric] = {"spectrum": FeatureSpectrum(sync_on_compute=synchronise)}
        W = self.head_of_width(module, d)
        if W is not None:
            made["importance_raw"] = DirectionImportance(W, sync_on_compute=synchronise)
            made["importance_centred"] = DirectionImportance(W, centred=True, sync_on_compute=synchronise)
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

    def check(self, module: Any) -> None:
        """Look for head and weights."""
        super().check(module)
        self._parameters(module)

    def read_weights(self, module: Any) -> Reading:
        """Tags `weights/…`: ranks and tail exponent of each named parameter."""
        reading = Reading()
        for name, parameter in self._parameters(module).items():
            found = matrix_spectrum(off_mps(parameter))
            reading.scalars[f"weights/{name}/stable_rank"] = found.stable_rank
            reading.scalars[f"weights/{name}/effective_rank"] = found.effective_rank
            reading.scalars[f"weights/{name}/alpha"] = found.alpha
            reading.curves[f"weights/{name}/singular_values"] = _numbers(found.singular_values)
        return reading

    def _parameters(self, module: Any) -> dict[str, Tensor]:
        parameters = {plain_name(name): parameter for name, parameter in module.named_parameters()}
        for name in self.weights:
            found = parameters.get(plain_name(name))
            if found is None or found.ndim < 2:
                matrices = [key for key, value in parameters.items() if value.ndim >= 2]
                near = get_close_matches(name, matrices, n=4, cutoff=0.3) or matrices[-4:]
                raise UserError(f"{type(module).__name__} has no matrix {name!r}; near names: {', '.join(near)}")
        return {name: parameters[plain_name(name)] for name in self.weights}


def _numbers(values: Tensor) -> list[float]:
    return [float(v) for v in values.reshape(-1)]
