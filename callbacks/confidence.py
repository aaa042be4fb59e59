"""How sure the head is of its answers on the images, and how right (METHODS 7)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from torch import Tensor
from torchmetrics import Metric

from lightning_robust.callbacks.signature import Reading, Signature, head_weight, off_mps
from lightning_robust.errors import UserError
from lightning_robust.signatures import PredictionConfidence
from lightning_robust.signatures.layers import plain_name

_ALWAYS: Final = ("mean", "entropy", "margin")
_WITH_CLASSES: Final = ("accuracy", "overconfidence", "ece")
_READS: Final = ":input"


class ConfidenceSignature(Signature):
    """Confidence of the head's own logits, from the layer that it reads; no pass and no hook more.

    A head given by name reads its input, whatever was done to it; so does a module's own where its representation is a
    `…:input`. Any other head of a module's own is a CLIP's, which scales h to unit length first; its factor on the
    cosines sits in the weight.

    Args:
        head: Name of the head's module; None asks the measured module's `head_weight()`.
    """

    uses_classes: ClassVar[bool] = True

    def check(self, module: Any) -> None:
        """Look for the head.

        Raises:
            UserError: If there is none, or nothing says which layer it reads.
        """
        if head_weight(module, self.head) is None:
            raise UserError(
                f"confidence needs a head, and {type(module).__name__} has no head_weight(): give head=, the name of "
                "its linear head"
            )
        if self._layer(module) is None:
            raise UserError(
                f"confidence needs the layer that the head reads, and {type(module).__name__} names no "
                "representation_layer: give head=, the name of its linear head"
            )

    def metrics(self, module: Any, layer: str, d: int, *, synchronise: bool) -> dict[str, Metric]:
        """The confidence, on the layer that the head reads."""
        if layer != self._layer(module) or (W := self.head_of_width(module, d)) is None:
            return {}
        reads = layer.endswith(_READS)
        bias = _bias(module, layer.removesuffix(_READS)) if reads else None
        return {"confidence": PredictionConfidence(W, bias, unit_norm=not reads, sync_on_compute=synchronise)}

    def read(self, layer: str, computed: Mapping[str, Any]) -> Reading:
        """Tags `confidence/…`."""
        return Reading(confidence_figures(computed["confidence"], layer) if "confidence" in computed else {})

    def check_used(self, module: Any) -> None:
        """Check after a pass that the layer was measured.

        Raises:
            UserError: If what the head reads is not among the layers.
        """
        if not self._head_used:
            raise UserError(f"confidence is of what the head reads: add {self._layer(module)!r} to layers=")

    def _layer(self, module: Any) -> str | None:
        if self.head is not None:
            return f"{plain_name(self.head)}{_READS}"
        own = getattr(module, "representation_layer", None)
        return None if own is None else plain_name(str(own))


def confidence_figures(result: Mapping[str, Tensor], layer: str) -> dict[str, float]:
    """Figures by tag of what `PredictionConfidence` computed.

    Args:
        result: Its dict of tensors.
        layer: What the head reads, for the count of images left out.

    Returns:
        `confidence/mean`, `/entropy` and `/margin`; where an image has a label also `/accuracy`, `/overconfidence` and
        `/ece`; and `not_finite/<layer>/confidence`.
    """
    names = _ALWAYS + (_WITH_CLASSES if int(result["labelled"]) else ())
    figures = {f"confidence/{name}": float(result[name]) for name in names}
    return figures | {f"not_finite/{layer}/confidence": float(result["not_finite"])}


def _bias(module: Any, head: str) -> Tensor | None:
    modules = {plain_name(name): m for name, m in module.named_modules()}
    bias = getattr(modules.get(head), "bias", None)
    return off_mps(bias.detach()) if isinstance(bias, Tensor) else None
