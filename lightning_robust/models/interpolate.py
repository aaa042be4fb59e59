"""Weight interpolation: the path from θ0 to θ1 that Wise-FT walks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

#: Whether the values of a tensor were finite, by the version of its content: looked at once, not at every α.
_seen_finite = WeakTensorKeyDictionary()


def interpolate(theta0: Mapping[str, Tensor], theta1: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Interpolate two state dicts: `θ_α = (1 − α) θ0 + α θ1`.

    Every floating-point or complex entry is interpolated, buffers included; integer entries come from θ1. α = 0 is a
    copy of θ0 and α = 1 of θ1, bitwise and whole. Values that are equal in both stay so at every α, infinite ones (as
    in attention masks) too. Narrower types than float32 are computed in float32. (Wortsman et al. 2022, arXiv
    2109.01903.)

    Args:
        theta0: State before finetuning.
        theta1: State after it: the same names, shapes and dtypes.
        alpha: Position on the path, in [0, 1].

    Returns:
        New tensors, under the names and on the devices of θ0, each in memory of its own.

    Raises:
        ValueError: If α is outside [0, 1], or names, shapes or dtypes differ (they are listed).

    Example:
        >>> t0, t1 = {"w": torch.zeros(2), "steps": torch.tensor(0)}, {"w": torch.ones(2), "steps": torch.tensor(9)}
        >>> interpolate(t0, t1, 0.25)
        {'w': tensor([0.2500, 0.2500]), 'steps': tensor(9)}
        >>> interpolate(t0, t1, 0.0)["steps"]
        tensor(0)
    """
    check_alpha(alpha)
    check_same_entries(theta0, theta1)
    result = {name: torch.empty_like(tensor, requires_grad=False) for name, tensor in theta0.items()}
    _fill(result, theta0, theta1, alpha)
    return result


def interpolate_into(
    target: Mapping[str, Tensor], theta0: Mapping[str, Tensor], theta1: Mapping[str, Tensor], alpha: float
) -> None:
    """Interpolate as `interpolate` does, but write into existing tensors, so that no second copy is allocated.

    The first call with a θ reads it once more, to see whether any value is infinite.

    Args:
        target: What is overwritten, usually `model.state_dict()` of a working copy.
        theta0: State before finetuning.
        theta1: State after it.
        alpha: Position on the path, in [0, 1].

    Raises:
        ValueError: If α is outside [0, 1], names, shapes or dtypes differ, the target shares memory with θ0 or θ1,
            which would then be destroyed, or two of its entries are one tensor (tied) but differ in θ0 or θ1.
    """
    check_alpha(alpha)
    check_same_entries(theta0, theta1)
    check_same_entries(theta0, target, ("θ0", "the model"))
    for label, theta in (("θ0", theta0), ("θ1", theta1)):
        if shares_memory(target, theta):
            raise ValueError(f"The target shares memory with {label}, which would be overwritten: give copies.")
        _check_tied(target, theta, label)
    _fill(target, theta0, theta1, alpha)


def check_alpha(alpha: float) -> None:
    """Refuse an α outside [0, 1].

    Args:
        alpha: Position on the path.

    Raises:
        ValueError: If it is outside, or not a number.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha lies in [0, 1], from the weights before finetuning to those after; not {alpha}.")


def check_same_entries(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], labels: tuple[str, str] = ("θ0", "θ1")
) -> None:
    """Refuse state dicts whose names, shapes or dtypes differ.

    Args:
        first: A state dict.
        second: Another one.
        labels: What to call them in the error.

    Raises:
        ValueError: One error that counts the differences of each kind and names the first of them.
    """
    problems = [
        _some(f"only in {labels[0]}", [name for name in first if name not in second]),
        _some(f"only in {labels[1]}", [name for name in second if name not in first]),
    ]
    common = [name for name in first if name in second]
    shapes = [
        f"{name} {tuple(first[name].shape)} against {tuple(second[name].shape)}"
        for name in common
        if first[name].shape != second[name].shape
    ]
    dtypes = [
        f"{name} {first[name].dtype} against {second[name].dtype}"
        for name in common
        if first[name].dtype != second[name].dtype
    ]
    problems += [_some("of different shape", shapes), _some("of different dtype", dtypes)]
    if any(problems):
        listed = "; ".join(problem for problem in problems if problem)
        raise ValueError(f"{labels[0]} and {labels[1]} are not states of the same architecture: {listed}.")


def shares_memory(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Tell whether any entries of two state dicts lie in the same memory.

    Args:
        first: A state dict.
        second: Another one.
    """
    storages = {tensor.untyped_storage().data_ptr() for tensor in first.values() if tensor.numel()}
    return any(tensor.untyped_storage().data_ptr() in storages for tensor in second.values() if tensor.numel())


def is_merged(dtype: torch.dtype) -> bool:
    """Tell whether entries of a dtype are averaged: floating-point and complex ones; others are taken from one state.

    Args:
        dtype: The entry's dtype.
    """
    return dtype.is_floating_point or dtype.is_complex


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype to average in: at least float32, since a half's step of 1/1024 would swallow small differences.

    Args:
        dtype: The entry's dtype, floating-point or complex.
    """
    if dtype.is_complex:
        return torch.promote_types(dtype, torch.complex64)
    return dtype if dtype.itemsize >= 4 else torch.float32


def in_working_dtype(tensor: Tensor) -> Tensor:
    """A tensor without its gradient history, in the dtype to average it in; an entry that is not averaged as it is.

    Args:
        tensor: An entry of a state.
    """
    detached = tensor.detach()
    return detached.to(working_dtype(tensor.dtype)) if is_merged(tensor.dtype) else detached


def lerp(before: Tensor, after: Tensor, weight: float, out: Tensor | None = None) -> Tensor:
    """`(1 − weight) · before + weight · after`; where both are equal, also infinite, exactly that.

    Args:
        before: A tensor of at least 32 bits.
        after: Another one of its shape, dtype and device.
        weight: In [0, 1].
        out: Where to write; neither of the two, or `before` itself. None allocates.
    """
    if _is_finite(before) and _is_finite(after):
        return torch.lerp(before, after, weight, out=out)
    finite = before.isfinite() & after.isfinite()  # the difference of infinities is no number
    mixed = torch.where(finite, torch.lerp(before, after, weight), (1 - weight) * before + weight * after)
    mixed = torch.where(before == after, before, mixed)
    return mixed if out is None else out.copy_(mixed)


def _fill(
    target: Mapping[str, Tensor], theta0: Mapping[str, Tensor], theta1: Mapping[str, Tensor], alpha: float
) -> None:
    with torch.no_grad():
        for name, out in target.items():
            if alpha in (0.0, 1.0) or not is_merged(out.dtype):
                out.copy_(theta0[name] if alpha == 0.0 else theta1[name])
                continue
            working = working_dtype(out.dtype)
            before, after = (theta[name].to(out.device, working) for theta in (theta0, theta1))
            if working == out.dtype:
                lerp(before, after, alpha, out)
            else:
                out.copy_(lerp(before, after, alpha))


def _is_finite(tensor: Tensor) -> bool:
    """Whether the sum is finite: False also where only the sum overflows, which costs time and nothing else."""
    version = None if tensor.is_inference() else tensor._version
    if version is not None and (seen := _seen_finite.get(tensor)) is not None and seen[0] == version:
        return bool(seen[1])
    finite = bool(torch.isfinite(tensor.detach().sum()))
    if version is not None:
        _seen_finite[tensor] = (version, finite)
    return finite


def _check_tied(target: Mapping[str, Tensor], theta: Mapping[str, Tensor], label: str) -> None:
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in target.items():
        if not tensor.numel():
            continue
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        other = first.setdefault(place, name)
        if other != name and not torch.equal(theta[other], theta[name]):
            raise ValueError(f"The target's {other} and {name} are one tensor, but differ in {label}: untie them.")


def _some(kind: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - 4} more" if len(items) > 4 else ""
    return f"{len(items)} {kind} ({', '.join(items[:4])}{more})"
