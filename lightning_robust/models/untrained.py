"""Batch-norm statistics for a control of random weights, which has seen no images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Any, Final

import torch
from torch import Tensor, nn

from lightning_robust.models.batch_norm import batch_norms, recalibrate_batch_norm
from lightning_robust.models.modes import eval_mode, kept_random_state
from lightning_robust.models.network import Network

#: Images that statistics are taken from at most: those of a channel have settled long before.
CALIBRATION_IMAGES: Final = 10_000

Run = Callable[[nn.Module, Any], Any]


def calibrate_untrained(
    model: nn.Module, batches: Iterable[Any], *, run: Run | None = None, max_images: int = CALIBRATION_IMAGES
) -> int:
    """Give a network of random weights the batch-norm statistics that it has on the images that it is measured on.

    A batch norm starts with a running mean of 0 and a running variance of 1, which are no statistics of anything: in
    eval mode a ResNet of random weights then gives almost the same h for every image, and its figures (RankMe near 1)
    say how batch norms are initialised, not what random weights do. Here they get the statistics of these images, as
    the first steps of training would give them (`recalibrate_batch_norm`: normalised by batch, merged over batches).
    Batch norms that the images do not reach, frozen ones of another class and those without running statistics stay
    as they are; a network without any is not touched, and its images are not read.

    Args:
        model: Random weights.
        batches: Images `(n, 3, H, W)`, of which those that are not of finite numbers are left out; or, for `run`,
            sequences whose first entry is as long as there are images. A batch of one image after larger ones is left
            out.
        run: How to run the model on a batch; None calls it on images, on its own device.
        max_images: Stop after the batch that reaches so many.

    Returns:
        The number of images used; 0 where there is no batch norm to calibrate.

    Raises:
        ValueError: If there are no images, or a batch has one value per channel.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2), nn.LayerNorm(2))
        >>> calibrate_untrained(model, [torch.tensor([[1.0, 2.0], [3.0, 8.0]])]), model[1].running_mean.tolist()
        (2, [2.0, 5.0])
        >>> calibrate_untrained(nn.LayerNorm(2), [])
        0
    """
    if not batch_norms(model):
        return 0
    call = run or _on_images
    usable = _usable(batches)
    first = next(usable, None)
    if first is None:
        raise ValueError("There are no images of finite numbers to calibrate the batch norms of random weights on.")
    layers = _reached(model, first, call)
    if not layers:
        return 0
    return recalibrate_batch_norm(model, chain([first], usable), run=call, max_images=max_images, layers=layers)


def calibrated(network: Network, batches: Iterable[Any], device: Any = "cpu") -> Network:
    """A network as it is measured: random weights with statistics of the images, any other as it is.

    Args:
        network: As `load_network` gives it; its model is changed in place.
        batches: The images that it is measured on.
        device: Where to run it.

    Returns:
        The network, whose `origin` says so.

    Example:
        >>> from lightning_robust.models.networks import load_network
        >>> network = calibrated(load_network("timm:resnet10t", untrained=True), [torch.randn(4, 3, 32, 32)])
        >>> network.origin
        'random weights, seed 0, batch norms calibrated on the 4 images'
    """
    if not network.untrained:
        return network
    images = calibrate_untrained(network.model.to(device), batches)
    return dataclasses.replace(network, origin=network.origin + calibration_words(images))


def calibration_words(images: int) -> str:
    """What is added to the origin of random weights.

    Args:
        images: How many their batch norms were calibrated on; 0 where they have none.

    Example:
        >>> calibration_words(2000), calibration_words(0)
        (', batch norms calibrated on the 2,000 images', '')
    """
    return f", batch norms calibrated on the {images:,} images" if images else ""


def _on_images(model: nn.Module, images: Tensor) -> None:
    model(images.to(next(model.parameters(), images).device))


def _usable(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches without what has no statistics: images of NaN, which would spoil those of the whole batch."""
    largest = 0
    for batch in batches:
        kept = _finite(batch) if isinstance(batch, Tensor) else batch
        n = len(kept if isinstance(kept, Tensor) else kept[0])
        if n > 1 or (n == 1 and largest < 2):
            largest = max(largest, n)
            yield kept


def _finite(images: Tensor) -> Tensor:
    if not images.is_floating_point():
        return images
    finite = images.flatten(1).isfinite().all(dim=1)
    return images if bool(finite.all()) else images[finite]


def _reached(model: nn.Module, batch: Any, run: Run) -> list[str]:
    """Names of the batch norms that a batch goes through."""
    found: dict[str, None] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda *_: found.setdefault(name)

    with ExitStack() as stack:
        for name, layer in batch_norms(model).items():
            stack.callback(layer.register_forward_pre_hook(note(name)).remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(eval_mode(model))
        stack.enter_context(kept_random_state())
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        run(model, batch)
    return list(found)
