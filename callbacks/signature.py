"""What a monitor can measure: the form that every signature takes, and the reading that comes of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor
from torchmetrics import Metric

from lightning_robust.errors import UserError

Computed = Mapping[str, Mapping[str, Any]]
"""Per layer and metric name, what the metric's `compute()` gave."""


@dataclass
class Reading:
    """Figures of one moment of training.

    Attributes:
        scalars: Figures by tag, for every logger and for `callback_metrics`.
        curves: One-dimensional values by tag (a spectrum, importance per direction), for TensorBoard figures.
    """

    scalars: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)

    def add(self, other: "Reading") -> None:
        """Take over the figures of another reading."""
        self.scalars.update(other.scalars)
        self.curves.update(other.curves)


class Signature(ABC):
    """A family of figures that come from one pass: which metrics they need, and how their results are read.

    Attributes:
        uses_labels: Whether its metrics need concept labels beside the images.
    """

    uses_labels: ClassVar[bool] = False

    def __init__(self, head: str | None = None) -> None:
        self.head = head

    @abstractmethod
    def metrics(self, module: Any, layer: str, d: int) -> dict[str, Metric]:
        """Make fresh metrics for a layer of width d of a module as it is now."""

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
        return own() if callable(own) else None
    modules = dict(module.named_modules())
    weight = getattr(modules.get(head), "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        linear = [name for name, m in modules.items() if getattr(getattr(m, "weight", None), "ndim", 0) == 2]
        raise UserError(
            f"{head!r} is no linear head of {type(module).__name__}; matrices are at: {', '.join(linear[-5:])}"
        )
    return weight.detach()
