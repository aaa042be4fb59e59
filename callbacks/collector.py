"""Hooks on the layers of one module that feed the metrics of its signatures."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_robust.callbacks.shares import Share, from_rank, kept_rows, over_ranks
from lightning_robust.callbacks.signature import Reading, Signature, off_mps
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.modes import kept_random_state
from lightning_robust.signatures import ActivationProbe
from lightning_robust.signatures.batches import labels_from_batch
from lightning_robust.signatures.layers import Layer
from lightning_robust.signatures.pooling import Pool

FindLabels = Callable[[Any], Any]

NO_BATCH = "the images of the monitor gave no batch, so there is nothing to measure"


class _Probe(ActivationProbe):
    """One that leaves the random states to the forward that runs on after it."""

    def _receive(self, layer: Layer, output: Any) -> None:
        with kept_random_state():
            super()._receive(layer, output)


class Collector:
    """Collects the figures of one module in one pass, whoever runs its forward: `begin`, the forward, `end`; `read`.

    A layer that runs several times in one batch counts once, with what it gave last, as in `signatures.measure`.
    Head and weights are taken when the first batch begins: a callback may swap other weights in for a validation, and
    out again before it ends.

    Args:
        module: The module that is measured.
        signatures: What to measure.
        layers: Where; see `signatures.ActivationProbe`.
        pool: How tokens and maps become one vector for each image.
        synchronise: Whether the images are spread over the processes of a distributed run.
        share: Which images of each batch are this process's own; all by default.
        labels: Finds the labels of a batch, concepts `(n, C)` or classes `(n,)`.
        warned: Layers whose images without finite features were told of; added to.

    Raises:
        UserError: For an unknown layer, head or weight, naming the nearest.
    """

    def __init__(
        self,
        module: nn.Module,
        signatures: Sequence[Signature],
        layers: Sequence[str],
        pool: Pool,
        synchronise: bool,
        *,
        share: Share | None = None,
        labels: FindLabels | None = None,
        warned: set[str] | None = None,
    ) -> None:
        self.module, self.signatures, self.synchronise = module, signatures, synchronise
        on_hidden = self._receive_hidden if any(signature.uses_hidden for signature in signatures) else None
        with from_user(ValueError):
            self.probe = _Probe(module, layers, pool, self._receive, on_hidden)
        for signature in signatures:
            signature.check(module)
        self._share, self._find_labels = share or Share(), labels or labels_from_batch
        self._warned = set() if warned is None else warned
        self._reading = Reading()
        self._begun = False
        self._labels: Any = None
        self._kept: Tensor | None = None
        self._images: int | None = None
        self._counted = False
        self._metrics: dict[str, list[dict[str, Metric]]] = {}
        self._hidden: dict[str, list[dict[str, Metric]]] = {}
        self._heard: dict[str, Tensor] = {}
        self._heard_hidden: dict[str, list[dict[str, Metric]]] = {}

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
        self._reading.forms.update({layer: asdict(form) for layer, form in self.probe.forms.items()})

    def begin(self, batch: Any, images: int | None = None, number: int = 0) -> None:
        """Look at a batch before its forward.

        Args:
            batch: Inputs, or `(inputs, labels, …)`.
            images: How many images it has, where that is known; every layer then has to give as many rows.
            number: Of the batch in its loader, from 0.
        """
        if not self._begun:
            self._take_weights()
        self._heard, self._heard_hidden = {}, {}
        self._labels, self._images, self._kept = self._find_labels(batch), images, self._share.kept(number)
        self._counted = images is not None
        self.probe.expect(images)
        if images is not None:
            self._reading.images += images if self._kept is None else int(self._kept.sum())

    def _take_weights(self) -> None:
        self._begun = True
        for signature in self.signatures:
            self._reading.add(signature.read_weights(self.module))

    def _receive(self, layer: str, h: Tensor) -> None:
        self._heard[layer] = h  # a layer that runs again in this batch replaces what it gave

    def _receive_hidden(self, layer: str, hidden: Tensor) -> None:
        hidden = off_mps(kept_rows(hidden, self._kept, layer))
        with torch.autocast(hidden.device.type, enabled=False):  # the forward may run in another precision
            made = [signature.hidden_metrics(synchronise=self.synchronise) for signature in self.signatures]
            for metric in (metric for group in made for metric in group.values() if len(hidden)):
                metric.to(hidden.device).update(hidden)
        self._heard_hidden[layer] = made

    def end(self) -> None:
        """Take in what the layers gave in the batch that has ended, once for each layer."""
        for layer, features in self._heard.items():
            h = off_mps(kept_rows(features, self._kept, layer))
            if not self._counted:  # the first layer of this batch tells how many images there are
                self._counted = True
                each = self.probe.forms[layer].positions if self.probe.pool == "tokens" else 1
                self._reading.images += len(h) // (each or 1)
            groups = self._metrics.get(layer) or self._make(layer, h.shape[1], h.device)
            for signature, group in zip(self.signatures, groups, strict=True):
                for metric in group.values() if len(h) else ():
                    metric.update(h, *self._labels_for(signature, len(h)))
        for layer, groups in self._heard_hidden.items():
            self._merge_hidden(layer, groups)
        self._heard, self._heard_hidden = {}, {}

    def _merge_hidden(self, layer: str, groups: list[dict[str, Metric]]) -> None:
        known = self._hidden.setdefault(layer, groups)
        for mine, fresh in zip(known, groups, strict=True) if known is not groups else ():
            for name, metric in fresh.items():
                if metric.update_called:
                    mine[name].merge_state(metric)

    def _make(self, layer: str, d: int, device: torch.device) -> list[dict[str, Metric]]:
        made = [s.metrics(self.module, layer, d, synchronise=self.synchronise) for s in self.signatures]
        for metric in (metric for group in made for metric in group.values()):
            metric.to(device)
        self._metrics[layer] = made
        if layer not in self._hidden and layer not in self._heard_hidden:
            self._hidden[layer] = [s.hidden_metrics(synchronise=self.synchronise) for s in self.signatures]
        return made

    def _labels_for(self, signature: Signature, rows: int) -> tuple[Any, ...]:
        if signature.uses_labels:
            return (self._concept_labels(),)
        return (self._class_labels(rows),) if signature.uses_classes else ()

    def _class_labels(self, rows: int) -> Tensor | None:
        """Classes `(n,)` of the batch's images; None where its labels are something else, or there are none."""
        labels = self._labels
        if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
            return None
        kept = labels if self._kept is None else labels[self._kept.to(labels.device)]
        return kept if len(kept) == rows else None

    def _concept_labels(self) -> Any:
        shape = getattr(self._labels, "shape", None)
        if shape is None or len(shape) != 2:
            found = "none" if shape is None else f"of shape {tuple(shape)}"
            raise UserError(
                f"concepts need labels (n, C) in {{1, 0, -1}} as second part of each batch, found {found}; give the "
                "monitor images=, a loader of a concept set, or labels_from_batch="
            )
        labels = self._labels
        if isinstance(labels, Tensor):
            return off_mps(labels if self._kept is None else labels[self._kept.to(labels.device)])
        return labels if self._kept is None else labels.select(self._kept)

    def read(self) -> Reading:
        """Compute every figure of the images seen since the start; in a distributed run, on all processes at once."""
        reading, teller = self._reading, self._meet() if self.synchronise else None
        if not self._begun:
            self._take_weights()
        for layer in (layer for layer in self.probe.layers if layer in self._metrics):
            for signature, group, hidden in zip(
                self.signatures, self._metrics[layer], self._hidden[layer], strict=True
            ):
                reading.add(signature.read(layer, {name: _computed(m) for name, m in (group | hidden).items()}))
        for signature in self.signatures:
            signature.check_used(self.module)
        if teller is not None:
            reading = self._reading = from_rank(reading, teller)
        self._tell_of_not_finite(reading)
        return reading

    def _meet(self) -> int | None:
        """Make up for layers of which this process had no image; tell whose figures count for all, if any had none."""
        own = {layer: self._reading.forms[layer]["d"] for layer in self._metrics}
        found = over_ranks({"widths": own, "images": self._reading.images, "forms": self._reading.forms})
        self._reading.images = sum(each["images"] for each in found)
        fullest = max(range(len(found)), key=lambda rank: (len(found[rank]["widths"]), -rank))
        if self.probe.layers and not found[fullest]["widths"]:
            raise UserError(NO_BATCH)
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        for layer, d in found[fullest]["widths"].items():
            if layer not in self._metrics:
                self._make(layer, d, torch.device("cpu") if device.type == "mps" else device)
        self._reading.forms = found[fullest]["forms"]
        return None if all(len(each["widths"]) == len(own) for each in found) else fullest

    def _tell_of_not_finite(self, reading: Reading) -> None:
        for layer in self.probe.layers:
            counts = [n for tag, n in reading.scalars.items() if tag.startswith(f"not_finite/{layer}/")]
            if any(counts) and layer not in self._warned:
                self._warned.add(layer)
                rank_zero_warn(
                    f"layer {layer!r}: {int(max(counts))} of {reading.images} images have a NaN or infinite feature; "
                    "they are left out of every figure and counted in not_finite"
                )


def _computed(metric: Metric) -> Any:
    if metric.update_called:
        return metric.compute()
    with warnings.catch_warnings():  # a process without images: torchmetrics warns before it asks the others
        warnings.simplefilter("ignore")
        return metric.compute()
