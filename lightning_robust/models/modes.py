"""States that a measurement borrows and gives back: train and eval modes, and the random generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
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


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Give the random generators of Python, NumPy and torch back as they were, also after an error.

    Accelerators' generators are kept where they are in use.

    Example:
        >>> before = torch.get_rng_state()
        >>> with kept_random_state():
        ...     _ = torch.rand(3)
        >>> torch.equal(before, torch.get_rng_state())
        True
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - the global one
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
