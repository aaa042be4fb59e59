"""Run anything with a model and leave the model, and every source of randomness, as they were."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def every_hook_fires(fast_path: bool = False) -> Iterator[None]:
    """Make hooks on inner modules fire: no fused attention path, and no compiled code.

    In eval mode ``nn.TransformerEncoder`` and its layers may run one fused kernel that never calls their submodules,
    and hooks placed after the first compiled call are ignored by ``torch.compile``. Both are switched off inside and
    restored after, also when the body raises. Wrap measured forwards in it.

    Args:
        fast_path: leave the fused path on. Right where no watched layer lies inside such an encoder
            (``not probe.inside_fused``): every hook fires, and the outputs stay the same to the last bit, which the
            other path rounds differently.

    Example:
        >>> with every_hook_fires():
        ...     torch.backends.mha.get_fastpath_enabled()
        False
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fused and fast_path)
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextmanager
def leave_unchanged(model: nn.Module) -> Iterator[None]:
    """Restore a model and all random states on leaving, also when the body raises.

    Restored: the mode of every submodule, ``requires_grad`` and gradients of every parameter, every buffer (the
    statistics of batch norm), and the random states of Python, numpy, torch and every CUDA device. Gradients are set
    aside inside, so that nothing can add to them. Not guarded: values of parameters (an optimiser step inside).

    Args:
        model: any module.

    Example:
        >>> model = nn.Dropout()
        >>> with leave_unchanged(model):
        ...     _ = model.eval(), torch.rand(3)
        >>> model.training
        True
    """
    # set aside before the body runs: a later failure must still find all of it
    steps = [_random_states(), _modes(model), _parameters(model), _buffers(model)]
    try:
        yield
    finally:
        with ExitStack() as stack:  # one failing step does not stop the others
            for step in steps:
                stack.callback(step)


@contextmanager
def measured_pass(model: nn.Module, fast_path: bool = False) -> Iterator[None]:
    """Put around measured forwards: eval mode, no gradients, every hook fires, and everything as before afterwards.

    The mode is set without calling ``eval()``, which some modules override with side effects (merging adapters).

    Args:
        model: any module.
        fast_path: leave the fused attention path on; see ``every_hook_fires``.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> with measured_pass(model):
        ...     model.training, model(torch.zeros(1, 2)).requires_grad
        (False, False)
    """
    with leave_unchanged(model), torch.no_grad(), every_hook_fires(fast_path):
        for module in model.modules():
            module.training = False
        yield


def _random_states() -> Callable[[], None]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    legacy = np.random.get_state()  # noqa: NPY002 global state is meant
    return partial(_restore_random_states, random.getstate(), legacy, torch.get_rng_state(), cuda)


def _restore_random_states(python: Any, legacy: Any, cpu: Tensor, cuda: Any) -> None:
    # no type that a checker draws an item of: it would draw from Python's generator, which this restores
    random.setstate(python)
    np.random.set_state(legacy)  # noqa: NPY002
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)


def _modes(model: nn.Module) -> Callable[[], None]:
    return partial(_restore_modes, [(module, module.training) for module in model.modules()])


def _restore_modes(modes: list[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        module.training = training


def _parameters(model: nn.Module) -> Callable[[], None]:
    saved = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    for parameter, _, _ in saved:
        parameter.grad = None
    return partial(_restore_parameters, saved)


def _restore_parameters(saved: list[tuple[nn.Parameter, bool, Tensor | None]]) -> None:
    for parameter, requires_grad, grad in saved:
        parameter.requires_grad_(requires_grad)
        parameter.grad = grad


def _buffers(model: nn.Module) -> Callable[[], None]:
    saved = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    return partial(_restore_buffers, saved)


@torch.no_grad()
def _restore_buffers(saved: list[tuple[nn.Module, str, Tensor, Tensor]]) -> None:
    for module, name, buffer, value in saved:
        module._buffers[name] = buffer
        if not torch.equal(buffer, value):
            buffer.copy_(value)
