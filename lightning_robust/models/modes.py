"""Train and eval modes, set for a moment and given back exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode inside; give every submodule its own mode back, also after an error.

    Args:
        model: Any module; parts of it may be in other modes than the whole.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm2d(2).eval(), nn.Dropout())
        >>> with eval_mode(model):
        ...     model[1].training
        False
        >>> model[0].training, model[1].training
        (False, True)
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
