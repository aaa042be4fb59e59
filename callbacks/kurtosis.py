"""Kurtosis and outlier features: how far a few coordinates of a representation stand out (METHODS 2)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from torchmetrics import Metric

from lightning_robust.callbacks.signature import Reading, Signature
from lightning_robust.signatures import (
    ActivationKurtosis,
    MassiveActivations,
    OutlierFeatures,
    compare_outliers,
    outlier_report,
)

_OUTLIERS: Final = re.compile(r"(^|/)outliers/.+/features$")
_CHANGES: Final = ("persisted", "appeared", "vanished")


class KurtosisSignature(Signature):
    """Per-image kurtosis, outlier features and neuron-norm kurtosis of a layer; massive activations before pooling."""

    uses_hidden: ClassVar[bool] = True

    def metrics(self, module: Any, layer: str, d: int, *, synchronise: bool) -> dict[str, Metric]:
        """One metric for kurtosis, one for the features."""
        del module, layer, d
        return {
            "kurtosis": ActivationKurtosis(sync_on_compute=synchronise),
            "outliers": OutlierFeatures(sync_on_compute=synchronise),
        }

    def hidden_metrics(self, *, synchronise: bool) -> dict[str, Metric]:
        """One metric for massive activations."""
        return {"massive": MassiveActivations(sync_on_compute=synchronise)}

    def read(self, layer: str, computed: Mapping[str, Any]) -> Reading:
        """Tags `kurtosis/…`, `outliers/…` and `massive/…`; indices where the layer is wide enough for the rule."""
        kurtosis, outliers, massive = computed["kurtosis"], computed["outliers"], computed["massive"]
        report = outlier_report(outliers)
        return Reading(
            {
                f"kurtosis/{layer}": float(kurtosis["mean"]),
                **{f"kurtosis/{layer}/{q}": float(kurtosis[q]) for q in ("q05", "q50", "q95")},
                f"kurtosis/{layer}/width_adjusted": float(kurtosis["width_adjusted"]),
                f"outliers/{layer}/features": float(outliers["count"]),
                f"outliers/{layer}/share_of_norm": float(outliers["share"]),
                f"outliers/{layer}/neuron_norm_kurtosis": float(outliers["neuron_norm_kurtosis"]),
                f"massive/{layer}/per_image": float(massive["count"]),
                f"massive/{layer}/images": float(massive["images"]),
                f"massive/{layer}/largest": float(massive["largest"]),
                f"not_finite/{layer}/kurtosis": float(outliers["not_finite"]),
                f"not_finite/{layer}/massive": float(massive["not_finite"]),
            },
            indices={f"outliers/{layer}/indices": list(report.indices)} if report.defined else {},
        )


def follow_outliers_since(reading: Reading, before: Mapping[str, Sequence[int]] | None) -> None:
    """Add which outlier features persist, appear and vanish, for each layer of a reading.

    Tags `outliers/<layer>/persisted`, `…/appeared` and `…/vanished`: numbers of features, NaN where there is nothing to
    compare with or no outlier can be (d ≤ 37).

    Args:
        reading: Figures of now; added to.
        before: Indices of the measurement before, by tag; None for the first one.
    """
    for tag in [tag for tag in reading.scalars if _OUTLIERS.search(tag)]:
        place = tag.removesuffix("/features")
        now, past = reading.indices.get(f"{place}/indices"), (before or {}).get(f"{place}/indices")
        counts = (float("nan"),) * 3
        if now is not None and past is not None:
            change = compare_outliers(past, now)
            counts = (float(len(change.persisted)), float(len(change.appeared)), float(len(change.vanished)))
        reading.scalars |= {f"{place}/{name}": n for name, n in zip(_CHANGES, counts, strict=True)}
