"""Where the versions of a network are while others run: in memory, or made anew and read from a file."""

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from lightning_robust.models.checkpoint_files import load_tensors, save_tensors

__all__ = ["HELD_BYTES", "Held", "bytes_of"]

HELD_BYTES = 10**9
"""Versions that are smaller together stay in memory."""


def bytes_of(network: nn.Module) -> int:
    """Bytes of the parameters."""
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())


class Held:
    """Holds networks as long as all together are small.

    Five budgets of a ViT-B/32 in four ways, each finetuned too, are 9 GB. Where that is too much, a version is made
    when its turn comes, from factors that all budgets share, and the weights of finetuned ones wait in files.

    Args:
        everything: Bytes of all versions together.
        folder: An empty folder for files that are needed during the run.
    """

    def __init__(self, everything: int, folder: Path) -> None:
        self.holds, self._folder, self._files = everything <= HELD_BYTES, folder, 0

    def made(self, make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        """What gives a network that can be made.

        Args:
            make: Makes it.
        """
        return functools.cache(make) if self.holds else make

    def changed(self, network: nn.Module, make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        """What gives a network whose numbers were changed.

        Args:
            network: The network, in eval mode.
            make: Makes one of the same shape, with other numbers.

        Raises:
            ValueError: If a file cannot be written.
        """
        if self.holds:
            return lambda: network
        self._files += 1
        path = self._folder / f"{self._files}.safetensors"
        save_tensors(path, network.state_dict())
        return lambda: _read(path, make())


def _read(path: Path, network: nn.Module) -> nn.Module:
    state = load_tensors(path)
    own = network.state_dict()
    fresh = {name: state[name].to(tensor.device) for name, tensor in own.items()}
    with torch.no_grad():
        network.load_state_dict(fresh, assign=True)  # nothing is written into a network that others share
    return network.eval()
