"""What the versions of a network cost, all measured in one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lightning_robust.cli.compress_versions import DENSE, Version
from lightning_robust.models.cost import (
    file_bytes,
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
        file_bytes: Bytes of its weights as a file.
        latency: By batch size in digits.
    """

    parameters: int
    nonzero: int
    flops: int
    file_bytes: int
    latency: dict[str, Latency]


def costs_of(
    versions: Sequence[Version],
    image: Tensor,
    batches: Sequence[int],
    device: Any,
    seen: Callable[[int], None] | None = None,
) -> list[Costs]:
    """Count, and time in turns, all on one device.

    The versions of one share run in turns with the dense network, then those of the next, so that no more than these
    are in memory. Finetuning changes numbers and not shapes, so a finetuned version is not timed again: it has the
    times of the one that it was made from.

    Args:
        versions: The versions, the dense one first.
        image: One preprocessed image, `(3, H, W)`, which gives the shape.
        batches: Batch sizes.
        device: Where.
        seen: Called with 1 after each batch size of each share, for progress.

    Raises:
        ValueError: If a finetuned version has no version that it was made from.
    """
    dense = versions[0]
    found: dict[tuple[str, float], Costs] = {}
    shares = sorted({one.keep for one in versions if one.method != DENSE and not one.epochs}, reverse=True)
    for share in shares or [dense.keep]:
        here = [dense, *(one for one in versions if one.method != DENSE and one.keep == share and not one.epochs)]
        for one, costs in zip(
            here, _costs(here, image, batches, device, SECONDS / max(len(shares), 1), seen), strict=True
        ):
            found.setdefault(_made_as(one), costs)
    told = []
    for one in versions:
        if _made_as(one) not in found:
            raise ValueError(f"there is no {one.method} version of {one.keep:g} that is not finetuned.")
        own = found[_made_as(one)]
        told.append(replace(own, nonzero=nonzero_count(one.make())) if one.epochs else own)
    return told


def _made_as(version: Version) -> tuple[str, float]:
    return version.method, 1.0 if version.method == DENSE else version.keep


def _costs(
    versions: Sequence[Version],
    image: Tensor,
    batches: Sequence[int],
    device: Any,
    seconds: float,
    seen: Callable[[int], None] | None,
) -> list[Costs]:
    networks = [one.make().to(device).eval() for one in versions]
    found: dict[str, list[Latency]] = {}
    for size in dict.fromkeys(batches):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(size, *image.shape, generator=generator).to(device)
        times = interleaved_times(networks, images, rounds=ROUNDS, least=LEAST_ROUNDS, seconds=seconds)
        found[str(size)] = latencies(times, "processor" if _one_thread(device) else "clock")
        if seen is not None:
            seen(1)
    shape = image[None].to(device)
    return [
        Costs(
            parameter_count(network),
            nonzero_count(network),
            forward_flops(network, shape),
            file_bytes(network),
            {size: by_place[place] for size, by_place in found.items()},
        )
        for place, network in enumerate(networks)
    ]


def _one_thread(device: Any) -> bool:
    return torch.device(device).type == "cpu" and torch.get_num_threads() == 1


def latency_words(device: Any) -> str:
    """How latency was taken, for a record's conventions."""
    threads = torch.get_num_threads()
    where = f"{threads} thread{'s' if threads > 1 else ''} of the CPU"
    where = where if torch.device(device).type == "cpu" else str(device)
    return (
        f"latency: one forward pass of a batch of random images on {where}, the networks of one share in turns with "
        f"the dense one within each of {LEAST_ROUNDS} to {ROUNDS} rounds, each round beginning with another network, "
        "after two passes that do not count; median and range over the rounds by the clock; the speed-up is the median "
        f"of the ratios within the rounds, by {'processor time' if _one_thread(device) else 'the clock'}; a finetuned "
        "network has the shape, and so the time, of the one that it was made from"
    )
