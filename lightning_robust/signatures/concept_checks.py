"""What the functions of concepts say when they are handed the wrong thing."""

from typing import overload

import torch
from torch import Tensor


def check_tensor(value: object, name: str, shape: str | None = None, *, flags: bool = False) -> Tensor:
    """Return ``value`` if it is a tensor of the number of dimensions asked for, or raise a clear error.

    Args:
        value: what was given.
        name: what it is called in the error.
        shape: as it stands in a docstring, such as ``"(n, C)"``; any by default.
        flags: whether it must be bool: 0 and 1 as integers would be taken for positions.

    Returns:
        The tensor.

    Raises:
        TypeError: if it is no tensor, or not bool where it must be.
        ValueError: if it has another number of dimensions.

    Example:
        >>> check_tensor([1, 2], "labels", "(n, C)")
        Traceback (most recent call last):
        TypeError: labels must be a torch tensor, not list.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch tensor, not {type(value).__name__}.")
    if flags:
        check_dtype(value, name, torch.bool)
    if shape is not None and value.ndim != _dimensions(shape):
        raise ValueError(f"{name} must have shape {shape}, not {tuple(value.shape)}.")
    return value


def check_dtype(value: Tensor, name: str, dtype: torch.dtype) -> None:
    """Raise ``TypeError`` if a tensor is of another dtype."""
    if value.dtype != dtype:
        wanted, found = (str(one).removeprefix("torch.") for one in (dtype, value.dtype))
        raise TypeError(f"{name} must be {wanted}, not {found}.")


def check_range(index: Tensor, name: str, size: int) -> None:
    """Raise ``ValueError`` if one of the indices is none of 0 … size − 1."""
    if not len(index):
        return
    if not (int(index.min()) >= 0 and int(index.max()) < size):
        raise ValueError(f"{name} must lie in 0 … {size - 1}, not {int(index.min())} … {int(index.max())}.")


def check_computed(value: object, name: str, shape: str, *, flags: bool = False) -> Tensor:
    """As ``check_tensor``, for what a metric computed: torchmetrics gives one number, such as ``(1, 1)``, as a scalar.

    Args:
        value: what was given.
        name: what it is called in the error.
        shape: as it stands in a docstring.
        flags: whether it must be bool.

    Returns:
        The tensor, with its dimensions again.

    Raises:
        TypeError: as there.
        ValueError: as there.

    Example:
        >>> check_computed(torch.tensor(0.5), "ap", "(D, C)")
        tensor([[0.5000]])
    """
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.reshape((1,) * _dimensions(shape))
    return check_tensor(value, name, shape, flags=flags)


@overload
def check_table(ap: object, eligible: Tensor) -> tuple[Tensor, Tensor]: ...


@overload
def check_table(ap: object, eligible: Tensor | None) -> tuple[Tensor, Tensor | None]: ...


def check_table(ap: object, eligible: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return average precisions ``(D, C)`` and the concepts that count, ``(C,)`` bool, or raise a clear error.

    Args:
        ap: of D directions for C concepts.
        eligible: which concepts count; None for no such choice.

    Returns:
        Both.

    Raises:
        TypeError: if one is no tensor, or ``eligible`` is not bool.
        ValueError: if they are not of the same concepts.
    """
    table = check_computed(ap, "ap", "(D, C)")
    if eligible is None:
        return table, None
    chosen = check_computed(eligible, "eligible", "(C,)", flags=True)
    if len(chosen) != table.shape[1]:
        raise ValueError(f"ap is of {table.shape[1]} concepts and eligible of {len(chosen)}.")
    return table, chosen


def _dimensions(shape: str) -> int:
    return sum(1 for size in shape.strip("()").split(",") if size.strip())
