"""What a monitor can measure: the form that every signature takes, and the reading that comes of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import Metric

from lightning_robust.errors import UserError
from lightning_robust.signatures.layers import plain_name

Computed = Mapping[str, Mapping[str, Any]]
"""Per layer and metric name, what the metric's `compute()` gave."""


@dataclass
class Reading:
    """Figures of one moment of training.

    Attributes:
        scalars: Figures by tag, for every logger and for `callback_metrics`.
        curves: One-dimensional values by tag (a spectrum, importance per direction), for TensorBoard figures.
        indices: Coordinates of a representation by tag (which features are outliers); for no logger.
        forms: In which form each layer was measured, see `signatures.LayerForm`; plain values.
        images: How many images were seen, by all processes together.
    """

    scalars: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    indices: dict[str, list[int]] = field(default_factory=dict)
    forms: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: int = 0

    def add(self, other: "Reading") -> None:
        """Take over the figures of another reading."""
        self.scalars.update(other.scalars)
        self.curves.update(other.curves)
        self.indices.update(other.indices)

    def prefixed(self, prefix: str) -> "Reading":
        """The same figures under tags `<prefix>/<tag>`; under the tags as they are where the prefix is empty."""
        start = f"{prefix}/" if prefix else ""
        return Reading(
            {f"{start}{tag}": value for tag, value in self.scalars.items()},
            {f"{start}{tag}": values for tag, values in self.curves.items()},
            {f"{start}{tag}": values for tag, values in self.indices.items()},
            self.forms,
            self.images,
        )

    def entry(self, epoch: int, step: int) -> dict[str, Any]:
        """What `history` keeps of it: plain values only."""
        kept: dict[str, Any] = {"epoch": epoch, "step": step, "scalars": dict(self.scalars)}
        extra = {"indices": dict(self.indices), "forms": dict(self.forms), "images": self.images}
        return kept | {name: value for name, value in extra.items() if value}


class Signature(ABC):
    """A family of figures that come from one pass: which metrics they need, and how their results are read.

    Attributes:
        uses_labels: Whether its metrics need concept labels beside the images.
        uses_classes: Whether its metrics take the classes of the images, those that are known.
        uses_hidden: Whether it has metrics of the unpooled output of a layer, too.
    """

    uses_labels: ClassVar[bool] = False
    uses_classes: ClassVar[bool] = False
    uses_hidden: ClassVar[bool] = False

    def __init__(self, head: str | None = None) -> None:
        self.head = head
        self._head_used = False

    def check(self, module: Any) -> None:
        """Look for what was named in the module, before anything is run.

        Raises:
            UserError: If something is not there.
        """
        head_weight(module, self.head)

    def head_of_width(self, module: Any, d: int) -> Tensor | None:
        """The head's weight for a layer of width d: None where there is no head, or it reads another width."""
        W = head_weight(module, self.head)
        if W is None or W.shape[1] != d:
            return None
        self._head_used = True
        if not bool(W.isfinite().all()):
            rank_zero_warn("the head holds NaN or infinite values, so nothing of its directions is measured")
            return None
        return W

    def check_used(self, module: Any) -> None:
        """Check after a pass that a head given by name was of use.

        Raises:
            UserError: If no layer is as wide as what it reads.
        """
        if self.head is not None and not self._head_used:
            W = head_weight(module, self.head)
            width = W.shape[1] if W is not None else 0
            raise UserError(
                f"no layer is as wide as what the head {self.head!r} reads ({width}); add its input to layers=: "
                f"{self.head + ':input'!r}"
            )

    @abstractmethod
    def metrics(self, module: Any, layer: str, d: int, *, synchronise: bool) -> dict[str, Metric]:
        """Make fresh metrics for a layer of width d of a module as it is now.

        Args:
            module: What is measured.
            layer: Name of the layer.
            d: Its width.
            synchronise: Whether their results are those of all processes; cannot be changed once they are made.
        """

    def hidden_metrics(self, *, synchronise: bool) -> dict[str, Metric]:
        """Make fresh metrics of a layer's unpooled output, `(n, *state)`; none by default.

        Args:
            synchronise: As for `metrics`.
        """
        del synchronise
        return {}

    @abstractmethod
    def read(self, layer: str, computed: Mapping[str, Any]) -> Reading:
        """Turn the results of one layer's metrics, by name, into tagged figures."""

    def read_weights(self, module: Any) -> Reading:
        """Measure what needs no image: weights."""
        del module
        return Reading()


def head_weight(module: Any, head: str | None) -> Tensor | None:
    """Weight W of the classification head, `(C, d)`.

    Args:
        module: The module that is measured.
        head: Name of a submodule with a `weight`; None asks the module's own `head_weight()`, if it has one.

    Returns:
        The weight, or None where neither names a head.

    Raises:
        UserError: If the named submodule does not exist or has no matrix as `weight`.
    """
    if head is None:
        own = getattr(module, "head_weight", None)
        return off_mps(own()) if callable(own) else None
    modules = {plain_name(name): m for name, m in module.named_modules()}
    weight = getattr(modules.get(plain_name(head)), "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        linear = [name for name, m in modules.items() if getattr(getattr(m, "weight", None), "ndim", 0) == 2]
        raise UserError(
            f"{head!r} is no linear head of {type(module).__name__}; matrices are at: {', '.join(linear[-5:])}"
        )
    return off_mps(weight.detach())


def off_mps(tensor: Tensor) -> Tensor:
    """Move a tensor from Apple's MPS to the CPU: figures are computed in float64, which MPS does not have.

    Args:
        tensor: On any device; elsewhere it stays where it is.
    """
    return tensor.cpu() if tensor.device.type == "mps" else tensor
