"""Hooks on the layers of one module that feed the metrics of its signatures, and one pass that serves several."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_robust.callbacks.signature import Reading, Signature, off_mps
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.modes import kept_random_state
from lightning_robust.signatures import ActivationProbe, measured_pass
from lightning_robust.signatures.pooling import Pool

Forward = Callable[[Any, Any], Any]

_GIVE_FORWARD = "give the monitor forward=, a function (module, batch) that runs one batch"
_NO_FORWARD = (LightningModule.forward, nn.Module.forward)


class Collector:
    """Collects the figures of one module in one pass, whoever runs its forward.

    Args:
        module: The module that is measured.
        signatures: What to measure.
        layers: Where; see `signatures.ActivationProbe`.
        pool: How tokens and maps become one vector for each image.
        synchronise: Whether the images are spread over the processes of a distributed run.

    Raises:
        UserError: For an unknown layer, head or weight, naming the nearest.
    """

    def __init__(
        self, module: nn.Module, signatures: Sequence[Signature], layers: Sequence[str], pool: Pool, synchronise: bool
    ) -> None:
        self.module, self.signatures, self.synchronise = module, signatures, synchronise
        with from_user(ValueError):
            self.probe = ActivationProbe(module, layers, pool, on_features=self._receive)
        for signature in signatures:
            signature.check(module)
        self._labels: Tensor | None = None
        self._images: int | None = None
        self._metrics: dict[str, list[dict[str, Metric]]] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Place the hooks, and take them away again, also when the body raises.

        Raises:
            UserError: At the end, if a layer never fired.
        """
        self.probe.attach()
        try:
            yield
        finally:
            self.probe.remove()
        with from_user(RuntimeError):
            self.probe.check_fired()

    def begin(self, batch: Any, images: int | None = None) -> None:
        """Look at a batch before its forward.

        Args:
            batch: Inputs, or `(inputs, labels, …)`.
            images: How many images it has, where that is known; every layer then has to give as many rows.
        """
        second = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
        self._labels, self._images = second if isinstance(second, Tensor) else None, images

    def _receive(self, layer: str, h: Tensor) -> None:
        if self._images is not None and len(h) != self._images:
            raise UserError(
                f"layer {layer!r} gave {len(h)} rows for {self._images} images: its first dimension is not the batch"
            )
        with kept_random_state():  # a forward runs on after this
            self._update(layer, h)

    def _update(self, layer: str, h: Tensor) -> None:
        h = off_mps(h)
        if layer not in self._metrics:
            self._metrics[layer] = [
                signature.metrics(self.module, layer, h.shape[1], synchronise=self.synchronise)
                for signature in self.signatures
            ]
            for metric in (m for group in self._metrics[layer] for m in group.values()):
                metric.to(h.device)
        for signature, group in zip(self.signatures, self._metrics[layer], strict=True):
            for metric in group.values():
                if not signature.uses_labels:
                    metric.update(h)
                else:
                    metric.update(h, self._concept_labels())

    def _concept_labels(self) -> Tensor:
        if self._labels is None or self._labels.ndim != 2:
            found = "none" if self._labels is None else f"of shape {tuple(self._labels.shape)}"
            raise UserError(
                f"concepts need labels (n, C) in {{1, 0, -1}} as second part of each batch, found {found}; give the "
                "monitor images=, a loader of a concept set"
            )
        return off_mps(self._labels)

    def read(self) -> Reading:
        """Compute every figure of the images seen since the start."""
        reading = Reading()
        for layer, groups in self._metrics.items():
            for signature, group in zip(self.signatures, groups, strict=True):
                reading.add(signature.read(layer, {name: metric.compute() for name, metric in group.items()}))
        for signature in self.signatures:
            signature.check_used(self.module)
            reading.add(signature.read_weights(self.module))
        return reading


def run_pass(
    collectors: Sequence[Collector],
    module: nn.Module,
    batches: Iterable[Any],
    forward: Forward | None,
    to_device: Callable[[Any], Any],
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> list[Reading]:
    """Run a module once over images for several collectors; nothing of the module or the random states is changed.

    Args:
        collectors: Who listens.
        module: The module.
        batches: Its images: tensors, `(inputs, labels, …)`, or anything that `forward` understands.
        forward: `forward(module, batch)`; None calls `module(inputs)`.
        to_device: Moves a batch to the module's device.
        context: Makes what each forward runs in; reading the images and computing figures stay outside.

    Raises:
        UserError: If there is no batch, or one does not fit the module and there is no `forward`.
    """
    with measured_pass(module), ExitStack() as stack:
        for collector in collectors:
            stack.enter_context(collector.listening())
        empty = True
        for batch in batches:
            empty, moved = False, to_device(batch)
            inputs = moved[0] if isinstance(moved, tuple | list) and moved else moved
            images = len(inputs) if forward is None and isinstance(inputs, Tensor) else None
            for collector in collectors:
                collector.begin(moved, images)
            if forward is None and images is None:
                raise UserError(f"batches are {type(batch).__name__}: {_GIVE_FORWARD}")
            if forward is None and getattr(type(module), "forward", None) in _NO_FORWARD:
                raise UserError(f"{type(module).__name__} has no forward of its own: {_GIVE_FORWARD}")
            with context():
                if forward is not None:
                    forward(module, moved)
                else:
                    module(inputs)
        if empty:
            raise UserError("the images of the monitor gave no batch, so there is nothing to measure")
        return [collector.read() for collector in collectors]
