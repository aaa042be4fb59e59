"""Magnitude pruning: the smallest weights of all layers together set to zero."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["Bits", "magnitude_masks", "magnitude_pruned", "masked"]

Bits = NDArray[np.uint8]
"""Eight entries of a mask in a byte (`numpy.packbits`), in the order of the flattened parameter."""


def magnitude_pruned(model: nn.Module, parameters: Sequence[str], kept: int) -> nn.Module:
    """A copy of a network whose smallest weights are zero, chosen over all named parameters at once.

    This is what `torch.nn.utils.prune.global_unstructured` with `L1Unstructured` does (Han et al. 2015, arXiv
    1506.02626, without the retraining), made permanent, in less memory. The network keeps its shape, so that it is
    neither smaller nor faster on hardware that multiplies with zeros as with other numbers: a rival for accuracy at a
    number of weights.

    Args:
        model: The network; it is left alone.
        parameters: Names of the parameters whose entries may be set to zero.
        kept: How many of their entries stay; the others are zero afterwards.

    Returns:
        A deep copy with zeros, its parameters as trainable as they were.

    Raises:
        ValueError: If a name is no parameter, is given twice, or more entries are to be kept than there are, or fewer
            than 0.

    Example:
        >>> layer = nn.Linear(3, 1, bias=False)
        >>> _ = layer.weight.data.copy_(layer.weight.new_tensor([[1.0, -3.0, 2.0]]))
        >>> magnitude_pruned(layer, ["weight"], 2).weight.tolist()
        [[0.0, -3.0, 2.0]]
    """
    return masked(model, magnitude_masks(model, parameters, kept))


def magnitude_masks(model: nn.Module, parameters: Sequence[str], kept: int) -> dict[str, Bits]:
    """Which entries stay, a bit each; of equal ones at the border the first.

    Args:
        model: The network.
        parameters: As for `magnitude_pruned`.
        kept: Likewise.

    Raises:
        ValueError: As `magnitude_pruned`.
    """
    known = dict(model.named_parameters())
    if strange := [name for name in parameters if name not in known]:
        raise ValueError(f"There is no parameter {strange[0]!r} that could be pruned.")
    if len(set(parameters)) < len(parameters):
        raise ValueError(f"Each parameter is pruned once: {', '.join(parameters)} has one twice.")
    sizes = {name: known[name].detach().abs().flatten().float().cpu().numpy() for name in parameters}
    total = sum(len(size) for size in sizes.values())
    if not 0 <= kept <= total:
        raise ValueError(f"Of {total} weights {kept} cannot be kept: give a number from 0 to {total}.")
    if kept in (0, total):
        return {name: np.packbits(np.full(len(size), kept > 0)) for name, size in sizes.items()}
    every = np.concatenate(list(sizes.values()))
    every.partition(total - kept)
    border = every[total - kept]  # the smallest that stays
    equal = kept - int((every > border).sum())  # so many of those as large as it stay
    del every
    found = {}
    for name, size in sizes.items():
        mask, ties = size > border, np.flatnonzero(size == border)[:equal]
        mask[ties] = True
        equal -= len(ties)
        found[name] = np.packbits(mask)
    return found


def masked(model: nn.Module, masks: Mapping[str, Bits]) -> nn.Module:
    """A copy of a network with zeros where a mask has them.

    Args:
        model: The network; it is left alone.
        masks: By parameter, as `magnitude_masks` gives them.
    """
    copied = copy.deepcopy(model)
    parameters = dict(copied.named_parameters())
    with torch.no_grad():
        for name, bits in masks.items():
            own = parameters[name]
            mask = torch.from_numpy(np.unpackbits(bits, count=own.numel()).astype(bool)).view(own.shape)
            own.mul_(mask.to(own.device))
    return copied
