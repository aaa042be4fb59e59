"""Hooks on the layers of one module that feed the metrics of its signatures, and one pass that serves several."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from lightning_robust.callbacks.signature import Reading, Signature
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_robust.errors import UserError
from lightning_robust.signatures import ActivationProbe, measured_pass
from lightning_robust.signatures.pooling import Pool

Forward = Callable[[Any, Any], Any]


class Collector:
    """Collects the figures of one module in one pass, whoever runs its forward.

    Args:
        module: The module that is measured.
        signatures: What to measure.
        layers: Where; see `signatures.ActivationProbe`.
        pool: How tokens and maps become one vector for each image.
        synchronise: Whether the images are spread over the processes of a distributed run.

    Raises:
        ValueError: For an unknown layer, naming the nearest.
    """

    def __init__(
        self, module: nn.Module, signatures: Sequence[Signature], layers: Sequence[str], pool: Pool, synchronise: bool
    ) -> None:
        self.module, self.signatures, self.synchronise = module, signatures, synchronise
        self.probe = ActivationProbe(module, layers, pool, on_features=self._receive)
        self.labels: Tensor | None = None
        self._metrics: dict[str, list[dict[str, Metric]]] = {}

    def _receive(self, layer: str, h: Tensor) -> None:
        if layer not in self._metrics:
            self._metrics[layer] = [s.metrics(self.module, layer, h.shape[1]) for s in self.signatures]
            for metric in (m for group in self._metrics[layer] for m in group.values()):
                metric.sync_on_compute = self.synchronise
                metric.to(h.device)
        for signature, group in zip(self.signatures, self._metrics[layer], strict=True):
            for metric in group.values():
                if not signature.uses_labels:
                    metric.update(h)
                elif self.labels is None:
                    raise UserError(
                        "concepts need images with labels: batches (images, labels (n, C) in {1, 0, -1}, …)"
                    )
                else:
                    metric.update(h, self.labels)

    def read(self) -> Reading:
        """Compute every figure of the images seen since the start."""
        reading = Reading()
        for layer, groups in self._metrics.items():
            for signature, group in zip(self.signatures, groups, strict=True):
                reading.add(signature.read(layer, {name: metric.compute() for name, metric in group.items()}))
        for signature in self.signatures:
            reading.add(signature.read_weights(self.module))
        return reading


def run_pass(
    collectors: Sequence[Collector],
    module: nn.Module,
    batches: Iterable[Any],
    forward: Forward | None,
    to_device: Callable[[Any], Any],
) -> list[Reading]:
    """Run a module once over images for several collectors; nothing of the module or the random states is changed.

    Args:
        collectors: Who listens.
        module: The module.
        batches: Its images: tensors, `(inputs, labels, …)`, or anything that `forward` understands.
        forward: `forward(module, batch)`; None calls `module(inputs)`.
        to_device: Moves a batch to the module's device.

    Raises:
        UserError: If a batch is neither a tensor nor a tuple and there is no `forward`.
    """
    with measured_pass(module), ExitStack() as stack:
        for collector in collectors:
            stack.enter_context(collector.probe)
        for batch in batches:
            moved = to_device(batch)
            labels = moved[1] if isinstance(moved, tuple | list) and len(moved) > 1 else None
            for collector in collectors:
                collector.labels = labels if isinstance(labels, Tensor) else None
            if forward is not None:
                forward(module, moved)
                continue
            inputs = moved[0] if isinstance(moved, tuple | list) and moved else moved
            if not isinstance(inputs, torch.Tensor):
                raise UserError(
                    f"batches are {type(batch).__name__}: give the monitor forward=, a function (module, batch)"
                )
            module(inputs)
        return [collector.read() for collector in collectors]
