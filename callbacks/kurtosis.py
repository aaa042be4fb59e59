"""Kurtosis and outlier features: how far a few coordinates of a representation stand out (METHODS 2)."""

from collections.abc import Mapping
from typing import Any

from torchmetrics import Metric

from lightning_robust.callbacks.signature import Reading, Signature
from lightning_robust.signatures import ActivationKurtosis, OutlierFeatures, outlier_report


class KurtosisSignature(Signature):
    """Per-image kurtosis, outlier features and neuron-norm kurtosis of a layer."""

    def metrics(self, module: Any, layer: str, d: int, *, synchronise: bool) -> dict[str, Metric]:
        """One metric for kurtosis, one for the features."""
        del module, layer, d
        return {
            "kurtosis": ActivationKurtosis(sync_on_compute=synchronise),
            "outliers": OutlierFeatures(sync_on_compute=synchronise),
        }

    def read(self, layer: str, computed: Mapping[str, Any]) -> Reading:
        """Tags `kurtosis/…` and `outliers/…`; indices where the layer is wide enough for the rule."""
        kurtosis, outliers = computed["kurtosis"], computed["outliers"]
        report = outlier_report(outliers)
        return Reading(
            {
                f"kurtosis/{layer}": float(kurtosis["mean"]),
                f"kurtosis/{layer}/q95": float(kurtosis["q95"]),
                f"kurtosis/{layer}/width_adjusted": float(kurtosis["width_adjusted"]),
                f"outliers/{layer}/features": float(outliers["count"]),
                f"outliers/{layer}/share_of_norm": float(outliers["share"]),
                f"outliers/{layer}/neuron_norm_kurtosis": float(outliers["neuron_norm_kurtosis"]),
            },
            indices={f"outliers/{layer}/indices": list(report.indices)} if report.defined else {},
        )
