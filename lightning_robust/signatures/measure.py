"""Run a model over images once, feed metrics with the features of its layers, change nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_robust.signatures import batches
from lightning_robust.signatures.layer_form import LayerForm, Pool
from lightning_robust.signatures.layers import expand_layers
from lightning_robust.signatures.probe import ActivationProbe
from lightning_robust.signatures.unchanged import measured_pass

Metrics = Metric | Mapping[str, Metric] | Sequence[Metric]
Named = dict[str, dict[str, Metric]]


class Measured(dict[str, dict[str, Any]]):
    """What ``measure`` found: ``{layer: {metric name: what its compute() gave}}``.

    Attributes:
        forms: ``{layer: LayerForm}``: the shape, the pooling and the axis that the figures are about.

    Example:
        >>> Measured({"head:input": {}}, forms={}).forms
        {}
    """

    def __init__(self, figures: Mapping[str, dict[str, Any]], forms: Mapping[str, LayerForm]) -> None:
        super().__init__(figures)
        self.forms = dict(forms)


def measure(
    model: nn.Module,
    images: Iterable[Any],
    metrics: Mapping[str, Metrics],
    *,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    pool: Pool = "mean",
    device: torch.device | str | None = None,
    images_from_batch: Callable[[Any], Tensor] | None = None,
    labels_from_batch: Callable[[Any], Any] | None = None,
) -> Measured:
    """Measure signatures of layers in one forward pass over the images.

    The model runs in eval mode and without gradients; its modes, gradients, buffers and hooks and every random state
    are as before on return, also when something raises. The metrics are reset first and keep their states after.

    In a distributed run every rank calls this on its own images (no image on two ranks), and the results are those of
    all; with the NCCL backend put the metrics on the GPU first (``metric.to(device)``), since it cannot gather from
    the CPU.

    Args:
        model: any module.
        images: batches of any form that the two hooks below (and ``forward``) understand.
        metrics: per layer (see ``ActivationProbe``) a metric, several by name, or a list (named by their classes). A
            layer string with wildcards measures each layer it matches, with copies of its metrics. A metric whose
            class says ``uses_labels = True`` gets the labels too, one that says ``uses_hidden = True`` the unpooled
            output ``(n, *state)``.
        forward: ``forward(model, batch)`` runs one batch. By default ``model(images_from_batch(batch))``, or for the
            two towers of transformers (CLIP, SigLIP) ``model.get_image_features(pixel_values=…)``. What it returns is
            the layer ``"forward"``.
        pool: how tokens and maps become one vector per image, or rows; see ``pool_features``.
        device: where batches are moved; by default to the model's first parameter.
        images_from_batch: finds the images in a batch; see the function of that name in ``batches``, the default.
        labels_from_batch: finds the labels; likewise.

    Returns:
        ``{layer: {metric name: what its compute() gave}}``, a dict with the form of each layer in ``forms``.

    Raises:
        ValueError: for an unknown layer, a metric used twice, no batch, a batch without images, a layer whose
            first dimension is not the batch, or labels for tokens.
        RuntimeError: if a layer never fired, or fired twice with a metric of its unpooled output.

    Example:
        >>> from lightning_robust.signatures import ActivationKurtosis
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Linear(8, 2))
        >>> result = measure(model, [torch.randn(5, 3, 2, 2)], {"2:input": ActivationKurtosis()})
        >>> int(result["2:input"]["ActivationKurtosis"]["n"]), result.forms["2:input"].words
        (5, '8 features')
    """
    named = _expanded(model, named_metrics(metrics))
    if pool == "tokens" and any(getattr(metric, "uses_labels", False) for _, _, metric in _every(named)):
        raise ValueError("labels are for images, not for tokens: measure concepts with pool='mean' or 'first'.")
    feeder = _Feeder(named, labels_from_batch or batches.labels_from_batch)
    on_hidden = feeder.hidden if feeder.wants_hidden else None
    probe = ActivationProbe(model, list(named), pool, on_hidden=on_hidden)
    where = torch.device(device) if device is not None else _device_of(model)
    for _, _, metric in _every(named):
        metric.reset()
    seen = 0
    with measured_pass(model, fast_path=not probe.inside_fused), probe:
        for batch in images:
            seen += 1
            moved = batches.batch_to(batch, where)
            found = _images(moved, images_from_batch, needed=forward is None)
            probe.expect(None if found is None else len(found))
            feeder.begin()
            probe.returned(_run(model, found) if forward is None else forward(model, moved))
            feeder.features(probe.pop(), moved)
        if seen == 0:
            raise ValueError("images gave no batch, so there is nothing to measure.")
        # inside, since a metric may draw random numbers
        figures = {layer: {name: metric.compute() for name, metric in group.items()} for layer, group in named.items()}
    return Measured(figures, {layer: probe.forms[layer] for layer in probe.layers})


def named_metrics(metrics: Mapping[str, Metrics]) -> Named:
    """Bring the ways to give metrics into one form, ``{layer: {name: metric}}``; a lone metric is named by its class.

    Raises:
        ValueError: if there is none, two of a list share a class, or one instance stands in two places.
    """
    named: Named = {}
    for layer, given in metrics.items():
        if isinstance(given, Mapping):
            named[layer] = dict(given)
            continue
        listed = [given] if isinstance(given, Metric) else list(given)
        named[layer] = {type(metric).__name__: metric for metric in listed}
        if len(named[layer]) < len(listed):
            raise ValueError(f"layer {layer!r} has two metrics of one class; give a mapping with a name for each.")
    everything = [id(metric) for _, _, metric in _every(named)]
    if not everything or not all(named.values()):
        raise ValueError("metrics must name at least one layer, and at least one metric for each layer.")
    if len(set(everything)) < len(everything):
        raise ValueError("one metric instance stands in two places, which would mix them; make one for each.")
    return named


class _Feeder:
    """Hands each metric what its class asks for."""

    def __init__(self, named: Named, labels_of: Callable[[Any], Any]) -> None:
        self._named, self._labels_of = named, labels_of
        self._hidden = {
            layer: [metric for metric in group.values() if getattr(metric, "uses_hidden", False)]
            for layer, group in named.items()
        }
        self._fired: set[str] = set()

    @property
    def wants_hidden(self) -> bool:
        return any(self._hidden.values())

    def begin(self) -> None:
        self._fired.clear()

    def hidden(self, layer: str, hidden: Tensor) -> None:
        if self._hidden[layer] and layer in self._fired:
            raise RuntimeError(
                f"layer {layer!r} fired twice in one forward, so its unpooled outputs would count twice; name the "
                "module around it, or its ':input'."
            )
        self._fired.add(layer)
        for metric in self._hidden[layer]:
            metric.update(hidden)

    def features(self, features: Mapping[str, Tensor], batch: Any) -> None:
        for layer, _, metric in _every(self._named):
            if getattr(metric, "uses_labels", False):
                metric.update(features[layer], _given(self._labels_of(batch)))
            elif not getattr(metric, "uses_hidden", False):
                metric.update(features[layer])


def _every(named: Mapping[str, Mapping[str, Metric]]) -> list[tuple[str, str, Metric]]:
    return [(layer, name, metric) for layer, group in named.items() for name, metric in group.items()]


def _expanded(model: nn.Module, named: Named) -> Named:
    expanded: Named = {}
    for given, group in named.items():
        for layer in expand_layers(model, [given]):
            mine = group if layer == given else {name: metric.clone() for name, metric in group.items()}
            if set(mine) & set(expanded.get(layer, ())):
                raise ValueError(f"layer {layer!r} gets two metrics of one name, the second from {given!r}.")
            expanded.setdefault(layer, {}).update(mine)
    return expanded


def _images(batch: Any, find: Callable[[Any], Tensor] | None, needed: bool) -> Tensor | None:
    if find is not None:
        return find(batch)
    try:
        return batches.images_from_batch(batch)
    except ValueError:
        if needed:
            raise
        return None  # a forward of one's own may take anything; then the batch size is not known


def _given(labels: Any) -> Any:
    if labels is None:
        raise ValueError(
            "a metric uses labels, and none were found: each batch must be (images, labels, …) or a mapping with "
            "'labels'; or give labels_from_batch=."
        )
    return labels


def _run(model: nn.Module, images: Tensor | None) -> Any:
    # the own call of these models wants texts first
    if callable(image_tower := getattr(model, "get_image_features", None)):
        return image_tower(pixel_values=images)
    return model(images)


def _device_of(model: nn.Module) -> torch.device | None:
    return next((parameter.device for parameter in model.parameters()), None)
