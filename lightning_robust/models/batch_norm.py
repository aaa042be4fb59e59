"""Batch-norm statistics for weights that no training has seen, such as interpolated ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
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
    chosen = {name: layer for name, layer in batch_norms(model).items() if layers is None or name in layers}
    if not chosen:
        raise ValueError(
            f"{type(model).__name__} has no batch norm with running statistics, so there is nothing to recalibrate "
            "(frozen batch norms and layer norms keep none)."
        )
    before = {name: _statistics(layer) for name, layer in chosen.items()}
    moments = {name: _Moments(name) for name in chosen}
    hooks = [layer.register_forward_pre_hook(moments[name]) for name, layer in chosen.items()]
    images = 0
    try:
        with torch.no_grad(), eval_mode(model), kept_random_state(), torch.compiler.set_stance("force_eager"):
            for layer in chosen.values():
                layer.training = True
            for batch in batches:
                images += _run(model, batch, run)
                if max_images is not None and images >= max_images:
                    break
        if not images:
            raise ValueError("There are no images to recalibrate the batch norms on.")
        found = {name: moment.result() for name, moment in moments.items()}
    except BaseException:
        found = {name: (mean, variance) for name, (mean, variance, _) in before.items()}
        raise
    finally:
        for hook in hooks:
            hook.remove()
        for name, layer in chosen.items():
            _put(layer, *found[name], before[name][2])
    return images


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


class _Moments:
    """Count, mean and sum of squared deviations of a layer's inputs per channel, merged over calls (Pébay 2008)."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0
        self.mean = self.squares = torch.zeros((), dtype=torch.float64)

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach().transpose(0, 1).flatten(1).double()
        n = x.shape[1]
        if n < 2:
            raise ValueError(
                f"The batch norm {self.name!r} got a batch with {n} value(s) per channel, which has no variance: "
                "use larger batches, and drop a last one of a single image."
            )
        mean = x.mean(1)
        squares = (x - mean[:, None]).square().sum(1)
        self.mean, self.squares = self.mean.to(mean), self.squares.to(mean)
        delta, total = mean - self.mean, self.count + n
        self.squares = self.squares + squares + delta.square() * (self.count * n / total)
        self.mean, self.count = self.mean + delta * (n / total), total

    def result(self) -> tuple[Tensor, Tensor]:
        if not self.count:
            raise ValueError(f"The batch norm {self.name!r} was not reached by the images: run the whole model.")
        variance = self.squares / (self.count - 1)
        if not bool(self.mean.isfinite().all()) or not bool(variance.isfinite().all()):
            raise ValueError(f"The inputs of the batch norm {self.name!r} are not all finite numbers.")
        return self.mean, variance


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
