"""Logits put together piece by piece, answered on the way: what every pruning sweep has in common (METHODS 4)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from lightning_robust.signatures.bases import checked_head
from lightning_robust.signatures.rows import checked_features

NO_CLASS = -1
"""Prediction of an image whose logits are no numbers: right for no target. (`models.class_mask` has the same.)"""

Predict = Callable[[Tensor], Tensor]
"""From logits ``(b, C)`` in float64, which it must not change, to predicted classes ``(b,)``."""

_LOGITS = 2**17  # of a block, 1 MiB: they stay in the second-level cache from one k to the next
_FEATURES = 2**20  # of a block, 8 MiB


@dataclass(frozen=True, eq=False)
class DistinctClasses:
    """The classes of a head that differ: those with equal weights and bias have one logit, so that ties stay ties.

    (Two classes of one name have equal rows in a zero-shot head. Matrix products may round equal rows differently.)

    Attributes:
        weight: the D distinct rows of the head, in the order of their first class, ``(D, d)``.
        bias: theirs, ``(D,)``; zeros where there is none.
        first: the first class with each row, ``(D,)``.
        row: of each class its row, ``(C,)``.
    """

    weight: Float64[Tensor, "D d"]
    bias: Float64[Tensor, " D"]
    first: Int64[Tensor, " D"]
    row: Int64[Tensor, " C"]

    def start(self, rows: Float64[Tensor, "b d"]) -> Float64[Tensor, "b D"]:
        """Logits before anything is read: the bias, or NaN for an image that is NaN."""
        return self.bias + 0 * rows[:, :1]

    def predict(self, grown: Iterable[Float64[Tensor, "b D"]], predict: Predict | None) -> Shaped[Tensor, "K b"]:
        """Predicted classes from the logits of the distinct rows, one row of answers for each k."""
        if predict is not None:
            several = len(self.first) < len(self.row)
            return torch.stack([predict(logits[:, self.row] if several else logits) for logits in grown])
        largest = [_largest(logits) for logits in grown]
        values, rows = (torch.stack(parts) for parts in zip(*largest, strict=True))
        return self.first[rows].masked_fill_(values.isnan() | (values == -torch.inf), NO_CLASS)


def distinct_classes(
    head: Float[Tensor, "C d"], bias: Float[Tensor, " C"] | None, device: torch.device | None = None
) -> DistinctClasses:
    """Find the classes of a head that differ.

    Args:
        head: weight ``W`` of the linear head, ``(C, d)``.
        bias: its bias, ``(C,)``.
        device: where to; by default where the head is.

    Raises:
        TypeError: if the head is not a tensor.
        ValueError: if head or bias is not finite, or their shapes do not fit.
    """
    W = checked_head(head)
    b = W.new_zeros(len(W)) if bias is None else bias.detach().to(W)
    if b.shape != (len(W),) or not bool(b.isfinite().all()):
        raise ValueError(f"bias must be finite, one for each of the {len(W)} rows of the head, not {tuple(b.shape)}.")
    found, row = torch.unique(torch.cat([W, b[:, None]], dim=1), dim=0, return_inverse=True)
    classes = torch.arange(len(W), device=W.device)
    first = classes.new_full((len(found),), len(W)).scatter_reduce(0, row, classes, "amin")
    first, order = first.sort()
    parts = W[first], b[first], first, order.argsort()[row]
    return DistinctClasses(*(part.to(device or W.device) for part in parts))


def growing_logits(
    logits: Float64[Tensor, "b D"],
    coefficients: Float64[Tensor, "b m"],
    pieces: Float64[Tensor, "m D"],
    counts: Sequence[int],
) -> Iterator[Float64[Tensor, "b D"]]:
    """Yield ``logits + coefficients[:, :k] @ pieces[:k]`` for each k: together one matrix product, not one for each k.

    Args:
        logits: without any piece, ``(b, D)``; changed in place and yielded.
        coefficients: of each piece for each image, ``(b, m)``.
        pieces: what each piece adds to each logit, ``(m, D)``.
        counts: the k, ascending.
    """
    done = 0
    for count in counts:
        if count == done + 1:  # twice as fast as a product with one inner element
            logits.addcmul_(coefficients[:, done, None], pieces[done])
        elif count > done:
            logits.addmm_(coefficients[:, done:count], pieces[done:count])
        done = count
        yield logits


def answered(
    features: Float[Tensor, "n d"],
    classes: DistinctClasses,
    grow: Callable[[Float64[Tensor, "b d"]], Iterable[Float64[Tensor, "b D"]]],
    predict: Predict | None,
) -> Shaped[Tensor, "K n"]:
    """Predictions for images in blocks, as many as keep their logits in the cache.

    Args:
        features: ``(n, d)``, any floating dtype. An image that is not finite is all NaN in its block.
        classes: that answer.
        grow: from a block of images to their logits, K times.
        predict: how logits become classes.

    Returns:
        ``(K, n)``.

    Raises:
        TypeError: if features are not a floating-point tensor.
        ValueError: if they are not a matrix as wide as the head.
    """
    n, d = checked_features(features).shape
    if d != classes.weight.shape[1]:
        raise ValueError(f"the head reads {classes.weight.shape[1]} features, not {d}.")
    size = max(1, min(_LOGITS // len(classes.bias), _FEATURES // d))
    found = []
    for start in range(0, max(n, 1), size):
        rows = features[start : start + size].detach().to(torch.float64)
        good = rows.isfinite().all(dim=1, keepdim=True)
        rows = rows if bool(good.all()) else rows.where(good, torch.nan)
        found.append(classes.predict(grow(rows), predict))
    return torch.cat(found, dim=1)


def checked_counts(counts: Sequence[int] | None, most: int, what: str) -> tuple[int, ...]:
    """Return the counts asked for; by default all, from ``most`` to 0.

    Raises:
        ValueError: if there is none, one twice, or one out of range.
    """
    if counts is None:
        return tuple(range(most, -1, -1))
    asked = tuple(int(count) for count in counts)
    if not asked or len(set(asked)) < len(asked) or not all(0 <= count <= most for count in asked):
        raise ValueError(f"{what} must be different numbers from 0 to {most}, not {list(asked)[:10]}.")
    return asked


def _largest(logits: Float64[Tensor, "b D"]) -> tuple[Float64[Tensor, " b"], Int64[Tensor, " b"]]:
    """The largest logit, NaN where one is NaN, and its first place."""
    if logits.device.type != "cpu":
        values, rows = logits.max(dim=1)
        return values, rows
    table = logits.numpy()
    places = table.argmax(axis=1)  # eight times faster than torch's
    return torch.from_numpy(table[np.arange(len(table)), places]), torch.from_numpy(places)
