"""What a `Diagnosis` has to measure for the figures of its table."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torchmetrics import Metric

from lightning_robust.callbacks.signature import Reading, Signature, head_weight
from lightning_robust.signatures import weight_spectra
from lightning_robust.signatures.spectrum import matrix_spectrum

__all__ = ["HEAD", "HeadAndWeights", "needed_kinds", "needed_layers", "needs_controls"]

HEAD: Final = "head.weight"
"""The name that the head's matrix goes by, whatever its module is called."""
_ROOTS: Final = {
    "kurtosis": ("kurtosis", "outliers", "neuron_norm_kurtosis", "massive"),
    "spectrum": ("rankme", "covariance_effective_rank", "participation_ratio", "importance"),
    "confidence": ("confidence",),
}
#: Figures that have several layers.
_OVER_LAYERS: Final = ("kurtosis", "outliers", "neuron_norm_kurtosis", "rankme")
_MATRIX: Final = ("stable_rank", "effective_rank", "alpha")


def needed_kinds(figures: Sequence[str]) -> tuple[str, ...]:
    """The kinds of signatures that figures come from.

    Args:
        figures: Canonical tags.

    Example:
        >>> needed_kinds(["rankme/h", "kurtosis/last", "head/alpha"])
        ('kurtosis', 'spectrum')
    """
    roots = {tag.partition("/")[0] for tag in figures}
    return tuple(kind for kind, own in _ROOTS.items() if roots.intersection(own))


def needed_layers(figures: Sequence[str], layers: Sequence[str]) -> list[str]:
    """Those of a module's layers that figures are read from.

    Args:
        figures: Canonical tags.
        layers: All of them in order, the representation last.

    Example:
        >>> needed_layers(["kurtosis/last", "rankme/h"], ["layer1", "layer2", "h"])
        ['layer2', 'h']
    """
    places = {tag.split("/")[1] for tag in figures if "/" in tag and tag.split("/")[0] in _OVER_LAYERS}
    if places & {"largest", "mean"}:
        return list(layers)
    return list(layers[-2:] if "last" in places else layers[-1:])


def needs_controls(figures: Sequence[str]) -> bool:
    """Whether a figure is measured with the controls of importance alone.

    Args:
        figures: Canonical tags.
    """
    return any(tag.endswith("/directions_for_90") for tag in figures)


class HeadAndWeights(Signature):
    """Spectra of the head, and of all weight matrices where a figure needs them; no image is looked at.

    Args:
        figures: Canonical tags of what is needed.
        head: Name of the head's module; None asks the module.
        representation: The layer that the head reads.
    """

    def __init__(self, figures: Sequence[str], head: str | None, representation: str) -> None:
        super().__init__(head)
        self._head = any(tag.startswith("head/") for tag in figures)
        self._all = any(tag.startswith("weights/") for tag in figures)
        self._representation = representation

    def metrics(self, module: Any, layer: str, d: int, *, synchronise: bool) -> dict[str, Metric]:
        """None: weights need no image."""
        del module, layer, d, synchronise
        return {}

    def read(self, layer: str, computed: Mapping[str, Any]) -> Reading:
        """Nothing."""
        del layer, computed
        return Reading()

    def read_weights(self, module: Any) -> Reading:
        """Tags `weights/…`, the head among them under its common name."""
        reading = Reading()
        W = head_weight(module, self.head) if self._head or self._all else None
        if W is not None:
            found = matrix_spectrum(W)
            reading.scalars |= {f"weights/{HEAD}/{name}": float(getattr(found, name)) for name in _MATRIX}
        if self._all:
            module_name, read, _ = self._representation.partition(":input")
            names = "all" if read else [f"{self._representation}.*"]
            for row in weight_spectra(module, names=names).table():
                if not read or row["name"] != f"{module_name}.weight":  # the head, which is there already
                    reading.scalars[f"weights/{row['name']}/alpha"] = float(row["alpha"])
        return reading

    def check_used(self, module: Any) -> None:
        """The head is used by its weight alone."""
        del module
