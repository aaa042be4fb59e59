"""Weight interpolation: the path from θ0 to θ1 that Wise-FT walks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def interpolate(theta0: Mapping[str, Tensor], theta1: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Interpolate two state dicts: `θ_α = (1 − α) θ0 + α θ1`.

    Every floating-point entry is interpolated, buffers included; integer entries come from θ1. α = 0 is a copy of θ0
    and α = 1 of θ1, bitwise and whole. Entries that are equal in both stay so at every α. Half-precision
    entries are computed in float32. (Wortsman et al. 2022, arXiv 2109.01903.)

    Args:
        theta0: State before finetuning.
        theta1: State after it: the same names, shapes and dtypes.
        alpha: Position on the path, in [0, 1].

    Returns:
        New tensors, under the names and on the devices of θ0.

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
    """Interpolate as `interpolate` does, but write into existing tensors, so that nothing is allocated.

    Args:
        target: What is overwritten, usually `model.state_dict()` of a working copy.
        theta0: State before finetuning.
        theta1: State after it.
        alpha: Position on the path, in [0, 1].

    Raises:
        ValueError: If α is outside [0, 1], names, shapes or dtypes differ, or the target shares memory with θ0 or θ1,
            which would then be destroyed.
    """
    check_alpha(alpha)
    check_same_entries(theta0, theta1)
    check_same_entries(theta0, target, ("θ0", "the model"))
    for label, theta in (("θ0", theta0), ("θ1", theta1)):
        if shares_memory(target, theta):
            raise ValueError(f"The target shares memory with {label}, which would be overwritten: give copies.")
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


def _fill(
    target: Mapping[str, Tensor], theta0: Mapping[str, Tensor], theta1: Mapping[str, Tensor], alpha: float
) -> None:
    with torch.no_grad():
        for name, out in target.items():
            if alpha in (0.0, 1.0) or not out.is_floating_point():
                out.copy_(theta0[name] if alpha == 0.0 else theta1[name])
                continue
            # at least float32: a half's step of 1/1024 would swallow small differences
            working = torch.promote_types(out.dtype, torch.float32)
            before, after = (theta[name].to(out.device, working) for theta in (theta0, theta1))
            if working == out.dtype:
                torch.lerp(before, after, alpha, out=out)
            else:
                out.copy_(torch.lerp(before, after, alpha))


def _some(kind: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - 4} more" if len(items) > 4 else ""
    return f"{len(items)} {kind} ({', '.join(items[:4])}{more})"
