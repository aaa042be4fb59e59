"""Several models over the images of one loader: each image is read once, whatever the number of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

Point = Callable[[], nn.Module]
"""Gives a model that is ready to run: another model, or the same one with its weights overwritten."""

Answer = Callable[[nn.Module, Any], tuple[Mapping[str, Tensor], Tensor]]
"""From a model and a batch to predicted classes under one or several rules, and the true classes, each `(n,)`."""


@dataclass(frozen=True, eq=False)
class PointAnswers:
    """What every point says about every image of one loader, on the CPU.

    Attributes:
        predictions: Predicted classes by rule, `(A, n)` each, for A points.
        targets: True classes, `(n,)`, in the order of the loader.
    """

    predictions: Mapping[str, Tensor]
    targets: Tensor


def evaluate_points(
    points: Sequence[Point],
    loader: Iterable[Any],
    answer: Answer,
    prepare: Callable[[Any], Any],
    *,
    block: int = 8,
    name: str = "images",
    seen: Callable[[int], None] | None = None,
) -> PointAnswers:
    """Run every point over one loader in one pass.

    Batches are gathered in blocks, and each point is made ready once for a block. Modes, gradients and random states
    are the caller's to set.

    Args:
        points: The A points.
        loader: Batches.
        answer: What is asked of a point for a batch.
        prepare: Prepares each batch, once: moves it to the device.
        block: Batches per block: more means fewer changes of weights and more memory.
        name: What the loader is called in messages.
        seen: Called with the number of images after each block, for progress.

    Returns:
        The answers of all points.

    Raises:
        ValueError: If the loader is empty, or `answer` gives other shapes than `(n,)`.

    Example:
        >>> models = [nn.Identity(), nn.Softmin(dim=1)]
        >>> batch = (torch.eye(2), torch.tensor([0, 1]))
        >>> rule = lambda model, batch: ({"top-1": model(batch[0]).argmax(dim=1)}, batch[1])
        >>> evaluate_points([lambda: models[0], lambda: models[1]], [batch], rule, lambda x: x).predictions["top-1"]
        tensor([[0, 1],
                [1, 0]])
    """
    rows: list[dict[str, list[Tensor]]] = [{} for _ in points]
    targets: list[Tensor] = []
    for batches in _blocks(loader, block):
        placed = [prepare(batch) for batch in batches]
        count = 0
        for index, point in enumerate(points):
            model = point()
            for batch in placed:
                predicted, true = answer(model, batch)
                _check_shapes(predicted, true)
                for rule, classes in predicted.items():
                    rows[index].setdefault(rule, []).append(classes.cpu())
                if index == 0:
                    targets.append(true.cpu())
                    count += len(true)
        if seen is not None:
            seen(count)
    if not targets:
        raise ValueError(f"The loader {name!r} has no batches: there is nothing to evaluate.")
    predictions = {rule: torch.stack([torch.cat(row[rule]) for row in rows]) for rule in rows[0]}
    return PointAnswers(predictions, torch.cat(targets))


def _check_shapes(predicted: Mapping[str, Tensor], true: Tensor) -> None:
    for classes in predicted.values():
        if classes.ndim != 1 or classes.shape != true.shape:
            raise ValueError(
                "predict gives predicted and true classes, each (n,), not shapes "
                f"{tuple(classes.shape)} and {tuple(true.shape)}."
            )


def _blocks(loader: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(loader)
    while batches := list(islice(iterator, size)):
        yield batches
