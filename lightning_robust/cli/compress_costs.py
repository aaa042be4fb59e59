"""What the versions of a network cost, all measured in one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_robust.cli.compress_versions import DENSE, Version
from lightning_robust.models.cost import (
    forward_flops,
    interleaved_times,
    latencies,
    nonzero_count,
    parameter_count,
)
from lightning_robust.results.compress_record import Latency

__all__ = ["Costs", "costs_of", "latency_words"]

ROUNDS, LEAST_ROUNDS, SECONDS = 25, 5, 30.0


@dataclass(frozen=True)
class Costs:
    """What one version costs.

    Attributes:
        parameters: Entries of its parameters.
        nonzero: Those that are not zero.
        flops: Floating-point operations of one image.
        latency: By batch size in digits.
    """

    parameters: int
    nonzero: int
    flops: int
    latency: dict[str, Latency]


def costs_of(
    versions: Sequence[Version],
    image: Tensor,
    batches: Sequence[int],
    device: Any,
    seen: Callable[[int], None] | None = None,
) -> list[Costs]:
    """Count, and time in turns, all on one device.

    Finetuning changes numbers and not shapes, so a finetuned version is not timed again: it has the times of the one
    that it was made from.

    Args:
        versions: The versions, the dense one first.
        image: One preprocessed image, `(3, H, W)`, which gives the shape.
        batches: Batch sizes.
        device: Where.
        seen: Called with 1 after each batch size, for progress.

    Raises:
        ValueError: If a finetuned version has no version that it was made from.
    """
    timed = [one for one in versions if not one.epochs]
    for one in timed:
        one.network.to(device).eval()
    found: dict[str, list[Latency]] = {}
    for size in dict.fromkeys(batches):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(size, *image.shape, generator=generator).to(device)
        times = interleaved_times(
            [one.network for one in timed], images, rounds=ROUNDS, least=LEAST_ROUNDS, seconds=SECONDS
        )
        found[str(size)] = latencies(times)
        if seen is not None:
            seen(1)
    places = [_source(one, timed) for one in versions]
    shape = image[None].to(device)
    flops = [forward_flops(one.network, shape) for one in timed]
    return [
        Costs(
            parameter_count(one.network),
            nonzero_count(one.network),
            flops[place],
            {size: by_place[place] for size, by_place in found.items()},
        )
        for one, place in zip(versions, places, strict=True)
    ]


def latency_words(device: Any) -> str:
    """How latency was taken, for a record's conventions."""
    threads = torch.get_num_threads()
    where = f"{threads} thread{'s' if threads > 1 else ''} of the CPU"
    where = where if torch.device(device).type == "cpu" else str(device)
    return (
        f"latency: one forward pass of a batch of random images on {where}, all networks in turns within each of "
        f"{LEAST_ROUNDS} to {ROUNDS} rounds, each round beginning with another network, after two passes that do not "
        "count; median and range over the rounds; the speed-up is the median of the ratios within the rounds; a "
        "finetuned network has the shape, and so the time, of the one that it was made from"
    )


def _source(version: Version, timed: Sequence[Version]) -> int:
    for place, one in enumerate(timed):
        if one.method == version.method and (one.method == DENSE or one.keep == version.keep):
            return place
    raise ValueError(f"there is no {version.method} version of {version.keep:g} that is not finetuned.")
