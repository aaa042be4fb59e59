"""Run a model over images once, feed metrics with the features of its layers, change nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_robust.signatures.pooling import Pool
from lightning_robust.signatures.probe import ActivationProbe
from lightning_robust.signatures.unchanged import measured_pass

Metrics = Metric | Mapping[str, Metric] | Sequence[Metric]


def measure(
    model: nn.Module,
    images: Iterable[Any],
    metrics: Mapping[str, Metrics],
    *,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    pool: Pool = "mean",
    device: torch.device | str | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure signatures of layers in one forward pass over the images.

    The model runs in eval mode and without gradients; its modes, gradients, buffers and hooks and every random state
    are as before on return, also when something raises. The metrics are reset first and keep their states after. In a
    distributed run every rank calls this on its own images, and the results are those of all; with the NCCL backend put
    the metrics on the GPU first (``metric.to(device)``), since it cannot gather from the CPU.

    Args:
        model: any module.
        images: batches: a tensor, ``(inputs, labels, …)``, or anything that ``forward`` understands.
        metrics: per layer (see ``ActivationProbe``) a metric, several by name, or a list (named by their classes).
            A metric whose class says ``uses_labels = True`` gets the second item of the batch too.
        forward: ``forward(model, batch)`` runs one batch; by default ``model(inputs)``.
        pool: how tokens and maps become one vector per image; see ``pool_features``.
        device: where batches are moved; by default to the model's first parameter.

    Returns:
        ``{layer: {metric name: what its compute() gave}}``.

    Raises:
        ValueError: for an unknown layer, a metric used twice, no batch, a batch that does not fit, or a layer whose
            first dimension is not the batch.
        RuntimeError: if a layer never fired.

    Example:
        >>> from lightning_robust.signatures import ActivationKurtosis
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Linear(8, 2))
        >>> result = measure(model, [torch.randn(5, 3, 2, 2)], {"2:input": ActivationKurtosis()})
        >>> int(result["2:input"]["ActivationKurtosis"]["n"])
        5
    """
    named = named_metrics(metrics)
    probe = ActivationProbe(model, list(named), pool)
    where = torch.device(device) if device is not None else _device_of(model)
    for _, _, metric in _every(named):
        metric.reset()
    batches = 0
    with measured_pass(model), probe:
        for batch in images:
            batches += 1
            moved = _to(batch, where)
            if forward is None:
                model(_inputs(moved))
            else:
                forward(model, moved)
            _feed(named, probe.pop(), moved, None if forward else len(_inputs(moved)))
        if batches == 0:
            raise ValueError("images gave no batch, so there is nothing to measure.")
        # inside, since a metric may draw random numbers
        return {layer: {name: metric.compute() for name, metric in group.items()} for layer, group in named.items()}


def named_metrics(metrics: Mapping[str, Metrics]) -> dict[str, dict[str, Metric]]:
    """Bring the ways to give metrics into one form, ``{layer: {name: metric}}``; a lone metric is named by its class.

    Raises:
        ValueError: if there is none, two of a list share a class, or one instance stands in two places.
    """
    named: dict[str, dict[str, Metric]] = {}
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


def _every(named: Mapping[str, Mapping[str, Metric]]) -> list[tuple[str, str, Metric]]:
    return [(layer, name, metric) for layer, group in named.items() for name, metric in group.items()]


def _feed(
    named: Mapping[str, Mapping[str, Metric]], features: Mapping[str, Tensor], batch: Any, expected: int | None
) -> None:
    for layer, _, metric in _every(named):
        h = features[layer]
        if expected is not None and len(h) != expected:
            raise ValueError(
                f"layer {layer!r} gave {len(h)} rows for {expected} images; its first dimension is not the batch."
            )
        if getattr(metric, "uses_labels", False):
            metric.update(h, _labels(batch))
        else:
            metric.update(h)


def _inputs(batch: Any) -> Tensor:
    first = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(first, Tensor):
        raise ValueError(f"a batch is {type(batch).__name__}, not a tensor or (inputs, labels); pass forward=.")
    return first


def _labels(batch: Any) -> Tensor:
    labels = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
    if not isinstance(labels, Tensor):
        raise ValueError("a metric uses labels, so each batch must be (inputs, labels, …) with a tensor of labels.")
    return labels


def _device_of(model: nn.Module) -> torch.device | None:
    return next((parameter.device for parameter in model.parameters()), None)


def _to(batch: Any, device: torch.device | None) -> Any:
    if device is None:
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _to(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        moved = [_to(value, device) for value in batch]
        if isinstance(batch, list):
            return moved
        return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)
    return batch
