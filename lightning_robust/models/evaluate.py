"""Evaluate every point of a Wise-FT path in one pass over the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.models.class_mask import ClassMask, largest_class
from lightning_robust.models.evaluate_points import Point, evaluate_points
from lightning_robust.models.interpolate import check_alpha, check_same_entries, interpolate_into, shares_memory
from lightning_robust.models.modes import eval_mode, kept_random_state

Predict = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]
"""From a model and a batch to predicted and true classes, each `(n,)`."""


@dataclass(frozen=True, eq=False)
class PathPredictions:
    """What every point of the path says about every image of one loader, on the CPU.

    Attributes:
        alphas: The A positions on the path.
        predictions: Predicted classes, `(A, n)`.
        targets: True classes, `(n,)`, in the order of the loader.
    """

    alphas: tuple[float, ...]
    predictions: Tensor
    targets: Tensor

    @property
    def correct(self) -> Tensor:
        """Whether each prediction is right, bool `(A, n)`: the columns are the pairs of a paired bootstrap."""
        return self.predictions == self.targets

    @property
    def accuracy(self) -> Tensor:
        """Share of right predictions per α, float64 `(A,)`, in [0, 1]."""
        return self.correct.double().mean(dim=1)


def evaluate_path(
    model: nn.Module,
    theta0: Mapping[str, Tensor],
    theta1: Mapping[str, Tensor],
    alphas: Sequence[float],
    loaders: Mapping[str, Iterable[Any]],
    *,
    masks: Mapping[str, ClassMask] | None = None,
    predict: Predict | None = None,
    block: int = 8,
    device: torch.device | str | None = None,
    to_device: Callable[[Any], Any] | None = None,
) -> dict[str, PathPredictions]:
    """Evaluate `interpolate(theta0, theta1, α)` for every α, reading each image once.

    Batches are gathered in blocks; for each block and each α the model is re-interpolated in place and run. Memory: θ0,
    θ1 and the model (a fourth copy only where the model's own weights are neither of the two). The model's weights and
    modes and the random states are given back, also after an error.

    Args:
        model: The working copy; its state dict has the names, shapes and dtypes of θ0 and θ1.
        theta0: State before finetuning.
        theta1: State after it.
        alphas: The A positions on the path, each in [0, 1].
        loaders: Loaders by name. Without `predict` a batch is `(images, targets, …)`.
        masks: By the name of a loader, the classes that its logits are restricted to; a loader without a mask has all.
        predict: For other models and batches: from `(model, batch)` to predicted and true classes, each `(n,)`.
        block: Batches per block: more means fewer interpolations and more memory.
        device: Where to run; None: where the model is. The model stays there.
        to_device: Prepares each batch, once; None moves its tensors to the model's device.

    Returns:
        `PathPredictions` per loader.

    Raises:
        ValueError: If an α is outside [0, 1], there is none, states differ, `block` < 1, a loader is empty,
            `predict` gives other shapes, or a mask is for no loader or stands beside `predict`.

    Example:
        >>> model = nn.Linear(2, 2, bias=False)
        >>> theta0, theta1 = {"weight": torch.eye(2)}, {"weight": torch.eye(2).flip(0)}
        >>> batch = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        >>> evaluate_path(model, theta0, theta1, [0.0, 0.4, 1.0], {"test": [batch]})["test"].accuracy.tolist()
        [1.0, 1.0, 0.0]
    """
    _check(alphas, block, loaders, masks or {}, predict)
    check_same_entries(theta0, theta1)
    check_same_entries(theta0, model.state_dict(), ("θ0", "the model"))
    if device is not None:
        model.to(device)
    state = model.state_dict()
    place = next((tensor.device for tensor in state.values()), torch.device("cpu"))
    start, end = (_apart(theta, state, place) for theta in (theta0, theta1))
    own = next((theta for theta in (end, start) if _equal(theta, state)), None) or _copy(state)
    try:
        with torch.no_grad(), eval_mode(model), kept_random_state():
            prepare = to_device or partial(move_batch, device=place)
            points = [_point(model, state, start, end, alpha) for alpha in alphas]
            return {
                name: _one_loader(
                    points, tuple(alphas), loader, predict or _rule((masks or {}).get(name)), prepare, block, name
                )
                for name, loader in loaders.items()
            }
    finally:
        with torch.no_grad():
            for name, tensor in state.items():
                tensor.copy_(own[name])


def _point(
    model: nn.Module, state: Mapping[str, Tensor], start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float
) -> Point:
    def ready() -> nn.Module:
        interpolate_into(state, start, end, alpha)
        return model

    return ready


def _one_loader(
    points: Sequence[Point],
    alphas: tuple[float, ...],
    loader: Iterable[Any],
    predict: Predict,
    prepare: Callable[[Any], Any],
    block: int,
    name: str,
) -> PathPredictions:
    def answer(model: nn.Module, batch: Any) -> tuple[dict[str, Tensor], Tensor]:
        predicted, true = predict(model, batch)
        return {"": predicted}, true

    found = evaluate_points(points, loader, answer, prepare, block=block, name=name)
    return PathPredictions(alphas, found.predictions[""], found.targets)


def move_batch(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a nested batch; anything else stays as it is.

    Args:
        batch: Tensors in tuples, lists and dicts.
        device: Where to.
    """
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: move_batch(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        moved = [move_batch(value, device) for value in batch]
        if isinstance(batch, list):
            return moved
        return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)
    return batch


def predict_largest(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """The class of the largest output for a batch `(images, targets, …)`, and the targets.

    Args:
        model: Maps images to `(n, C)`.
        batch: Its images and their true classes.
    """
    return largest_class(model(batch[0])), batch[1]


def _rule(mask: ClassMask | None) -> Predict:
    """The largest output, over all classes or those of a mask."""
    if mask is None:
        return predict_largest
    return lambda model, batch: (largest_class(mask(model(batch[0]))), batch[1])


def _check(
    alphas: Sequence[float],
    block: int,
    loaders: Mapping[str, Any],
    masks: Mapping[str, ClassMask],
    predict: Predict | None,
) -> None:
    if not alphas:
        raise ValueError("The path has no points: give at least one alpha.")
    for alpha in alphas:
        check_alpha(alpha)
    if block < 1:
        raise ValueError(f"block counts batches, so it is at least 1, not {block}.")
    if masks and predict is not None:
        raise ValueError("masks restrict the model's own logits: leave masks= out where predict= is given.")
    if strange := [name for name in masks if name not in loaders]:
        raise ValueError(f"There is no loader {strange[0]!r} for the mask of that name, only {', '.join(loaders)}.")


def _apart(theta: Mapping[str, Tensor], state: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """θ on the device of the model, in memory of its own: the model is about to be overwritten."""
    moved = {name: tensor.detach().to(device) for name, tensor in theta.items()}
    return _copy(moved) if shares_memory(moved, state) else moved


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(_bytes(first[name]), _bytes(tensor)) for name, tensor in second.items())


def _bytes(tensor: Tensor) -> Tensor:
    """Bytes, not values: -0.0 equals 0.0, and NaN equals nothing."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
