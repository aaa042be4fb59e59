"""Batch-norm statistics for weights that no training has seen, such as interpolated ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_robust.models.modes import eval_mode, kept_random_state


def recalibrate_batch_norm(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    run: Callable[[nn.Module, Any], Any] | None = None,
    max_images: int | None = None,
    layers: Collection[str] | None = None,
) -> int:
    """Set the running mean and variance of every batch norm to the statistics of its inputs over all images.

    One pass: batch norms normalise with each batch's own statistics, as in training, everything else is in eval mode
    (no dropout). A layer's statistics are those of all its inputs together: their mean and unbiased variance, merged
    over batches in float64, so that batches count by their size. `torch.optim.swa_utils.update_bn` (Izmailov et al.
    2018, arXiv 1803.05407) averages the batches' variances instead, which leaves the variance between batches out and
    gives a small last batch full weight, and runs dropout; with a single batch both agree. As there, what a deeper
    layer sees depends on the batches: use large ones. For weight averages and Wise-FT paths of ResNets.

    Nothing but `running_mean` and `running_var` changes (`num_batches_tracked` neither); modes and random states are
    given back. After an error the model is as it was.

    Args:
        model: A model with batch norms that keep running statistics.
        batches: Training images, `(images, …)` or images alone.
        run: How to run the model on a batch; None calls it on the images, on its own device.
        max_images: Stop after the batch that reaches so many; None takes all.
        layers: Names of the batch norms to set; None takes all that keep statistics, see `batch_norms`.

    Returns:
        The number of images used.

    Raises:
        ValueError: If the model has no such layer, there are no images, a batch has one value per channel, a layer is
            not reached, or its statistics are not finite.

    Example:
        >>> model = nn.BatchNorm1d(1)
        >>> recalibrate_batch_norm(model, [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])])
        4
        >>> round(model.running_mean.item(), 3), round(model.running_var.item(), 3)
        (4.0, 6.667)
    """
    images, moments = input_moments(model, batches, run=run, max_images=max_images, layers=layers)
    for moment in moments.values():
        if moment.lacking:
            raise ValueError(f"The batch norm {moment.name!r} {moment.lacking}.")
    put_moments(model, moments)
    return images


def input_moments(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    run: Callable[[nn.Module, Any], Any] | None = None,
    max_images: int | None = None,
    layers: Collection[str] | None = None,
) -> tuple[int, dict[str, Moments]]:
    """Moments of the inputs of every batch norm over all images, as `recalibrate_batch_norm` takes them.

    The model is as it was afterwards, also after an error.

    Args:
        model: As for `recalibrate_batch_norm`, and so are the others.
        batches: Training images.
        run: How to run the model on a batch.
        max_images: Stop after the batch that reaches so many.
        layers: Names of the batch norms.

    Returns:
        The number of images used, and the moments by layer; some may be lacking.

    Raises:
        ValueError: If the model has no such layer, there are no images, or a batch has one value per channel.
    """
    chosen = {name: layer for name, layer in batch_norms(model).items() if layers is None or name in layers}
    if not chosen:
        raise ValueError(
            f"{type(model).__name__} has no batch norm with running statistics, so there is nothing to recalibrate "
            "(frozen batch norms and layer norms keep none)."
        )
    before = {name: _statistics(layer) for name, layer in chosen.items()}
    moments = {name: Moments(name) for name in chosen}
    hooks = [layer.register_forward_pre_hook(moments[name].add) for name, layer in chosen.items()]
    images = 0
    try:
        with torch.no_grad(), eval_mode(model), kept_random_state(), torch.compiler.set_stance("force_eager"):
            for layer in chosen.values():
                layer.training = True
            for batch in batches:
                images += _run(model, batch, run)
                if max_images is not None and images >= max_images:
                    break
    finally:
        for hook in hooks:
            hook.remove()
        for name, layer in chosen.items():
            _put(layer, *before[name])
    if not images:
        raise ValueError("There are no images to recalibrate the batch norms on.")
    return images, moments


def put_moments(model: nn.Module, moments: Mapping[str, Moments]) -> None:
    """Make mean and unbiased variance of the inputs the running statistics of batch norms.

    Args:
        model: A model with these layers.
        moments: By layer; none of them lacking.
    """
    for name, moment in moments.items():
        _put(model.get_submodule(name), moment.mean, moment.squares / (moment.count - 1), None)


def batch_norms(model: nn.Module) -> dict[str, Any]:
    """The batch norms of a model that keep running statistics, by name.

    Args:
        model: Any module; frozen batch norms of another class, and those without running statistics, are left out.
    """
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
    }


class Moments:
    """Count, mean and sum of squared deviations of a layer's inputs per channel, merged over calls (Pébay 2008).

    Args:
        name: Of the layer.
    """

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0
        self.mean = self.squares = torch.zeros((), dtype=torch.float64)

    def add(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Merge the inputs of a call: a forward pre-hook.

        Raises:
            ValueError: If there is one value per channel.
        """
        x = inputs[0].detach().transpose(0, 1).flatten(1).double()
        n = x.shape[1]
        if n < 2:
            raise ValueError(
                f"The batch norm {self.name!r} got a batch with {n} value(s) per channel, which has no variance: "
                "use larger batches, and drop a last one of a single image."
            )
        mean = x.mean(1)
        self._merge(n, mean, (x - mean[:, None]).square().sum(1))

    def merge(self, other: Moments) -> None:
        """Merge what another process has seen.

        Args:
            other: Moments of the same layer.
        """
        if other.count:
            self._merge(other.count, other.mean, other.squares)

    def cpu(self) -> Moments:
        """The same on the CPU."""
        self.mean, self.squares = self.mean.cpu(), self.squares.cpu()
        return self

    @property
    def lacking(self) -> str:
        """Why they are no statistics, as the end of a sentence; empty where they are."""
        if not self.count:
            return "was not reached by the images: run the whole model"
        variance = self.squares / (self.count - 1)
        finite = bool(self.mean.isfinite().all()) and bool(variance.isfinite().all())
        return "" if finite else "has inputs that are not all finite numbers"

    def _merge(self, n: int, mean: Tensor, squares: Tensor) -> None:
        self.mean, self.squares = self.mean.to(mean), self.squares.to(mean)
        delta, total = mean - self.mean, self.count + n
        self.squares = self.squares + squares + delta.square() * (self.count * n / total)
        self.mean, self.count = self.mean + delta * (n / total), total


def _statistics(layer: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    tracked = layer.num_batches_tracked
    return layer.running_mean.clone(), layer.running_var.clone(), None if tracked is None else tracked.clone()


def _put(layer: Any, mean: Tensor, variance: Tensor, tracked: Tensor | None) -> None:
    with torch.no_grad():
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
        if tracked is not None:
            layer.num_batches_tracked.copy_(tracked)


def _run(model: nn.Module, batch: Any, run: Callable[[nn.Module, Any], Any] | None) -> int:
    images: Tensor = batch if isinstance(batch, Tensor) else batch[0]
    if run is not None:
        run(model, batch)
    else:
        model(images.to(next(model.parameters(), images).device))
    return len(images)
