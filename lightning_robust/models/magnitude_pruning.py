"""Magnitude pruning: the smallest weights of all layers together set to zero, by torch's own `prune`."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn
from torch.nn.utils import prune

__all__ = ["magnitude_pruned"]


def magnitude_pruned(model: nn.Module, parameters: Sequence[str], kept: int) -> nn.Module:
    """A copy of a network whose smallest weights are zero, chosen over all named parameters at once.

    This is `torch.nn.utils.prune.global_unstructured` with `L1Unstructured` (Han et al. 2015, arXiv 1506.02626,
    without the retraining), made permanent. The network keeps its shape, so that it is neither smaller nor faster on
    hardware that multiplies with zeros as with other numbers: a rival for accuracy at a number of weights.

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
    known = dict(model.named_parameters())
    if strange := [name for name in parameters if name not in known]:
        raise ValueError(f"There is no parameter {strange[0]!r} that could be pruned.")
    if len(set(parameters)) < len(parameters):
        raise ValueError(f"Each parameter is pruned once: {', '.join(parameters)} has one twice.")
    total = sum(known[name].numel() for name in parameters)
    if not 0 <= kept <= total:
        raise ValueError(f"Of {total} weights {kept} cannot be kept: give a number from 0 to {total}.")
    pruned = copy.deepcopy(model)
    if kept == total:
        return pruned
    places = [(pruned.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in parameters]
    trainable = [known[name].requires_grad for name in parameters]
    prune.global_unstructured(places, pruning_method=prune.L1Unstructured, amount=total - kept)
    for (module, attribute), trained in zip(places, trainable, strict=True):
        prune.remove(module, attribute)
        getattr(module, attribute).requires_grad_(trained)
    return pruned
