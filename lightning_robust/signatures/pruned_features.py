"""Predictions with the first m features of an order set to zero, for every m: a control of pruning (METHODS 4)."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from lightning_robust.signatures.growing_logits import (
    Predict,
    answered,
    checked_counts,
    distinct_classes,
    growing_logits,
)
from lightning_robust.signatures.rows import rescaled


def zeroed_predictions(
    head: Float[Tensor, "C d"],
    features: Float[Tensor, "n d"],
    order: Int64[Tensor, " m"] | Sequence[int],
    counts: Sequence[int] | None = None,
    *,
    unit_norm: bool,
    bias: Float[Tensor, " C"] | None = None,
    predict: Predict | None = None,
) -> Shaped[Tensor, "K n"]:
    """Predictions with the first features of an order set to zero, for many counts at once.

    Features are zeroed in the encoder's output, before it is scaled to unit length. The logits start from the features
    that are never zeroed and the others are added one by one, last zeroed first: nothing is subtracted, so that a
    massive feature leaves no rounding behind. Cost and exactness are those of ``pruned_predictions``.

    Args:
        head: weight of the head that answers, ``(C, d)``.
        features: raw encoder output, ``(n, d)``.
        order: the features that may be zeroed, first the one that goes first; m of the d.
        counts: how many are zeroed, from 0 to m; all, from 0 up to m, by default.
        unit_norm: whether the model scales h to unit length before the head. What is all zero stays zero.
        bias: of the head, ``(C,)``.
        predict: how logits become classes; by default the class of the largest.

    Returns:
        Predicted classes, ``(K, n)``, in the order of ``counts``. An image with a NaN or infinite feature has NaN
        logits, also where that feature is zeroed.

    Raises:
        TypeError: if head or features are not floating-point tensors.
        ValueError: if head or bias are not finite, shapes do not fit, the order names a feature twice or one that there
            is not, or a count is out of range.

    Example:
        >>> W, h = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), torch.tensor([[9.0, 2.0, 1.0]])
        >>> zeroed_predictions(W, h, [0], unit_norm=True)
        tensor([[0],
                [1]])
    """
    classes = distinct_classes(head, bias, features.device)
    goes = _checked_features(order, classes.weight.shape[1]).to(features.device)
    asked = tuple(range(len(goes) + 1)) if counts is None else checked_counts(counts, len(goes), "counts")
    left = sorted(len(goes) - count for count in asked)
    returning = goes.flip(0)
    pieces = classes.weight.T[returning].contiguous()
    stays = torch.ones(classes.weight.shape[1], dtype=torch.bool, device=features.device)
    stays[goes] = False
    always = classes.weight.T[stays].contiguous()

    def grow(rows: Tensor) -> Iterator[Tensor]:
        rows = rescaled(rows) if unit_norm else rows
        back, start = rows[:, returning], 0 * rows[:, :1] + rows[:, stays] @ always
        if not unit_norm:
            yield from growing_logits(classes.start(rows) + start, back, pieces, left)
            return
        squares = rows[:, stays].square().sum(dim=1, keepdim=True)
        norms = torch.cat([squares, squares + back.square().cumsum(dim=1)], dim=1).sqrt()
        norms = torch.where(norms == 0, 1.0, norms)
        for count, logits in zip(left, growing_logits(start, back, pieces, left), strict=True):
            yield torch.addcdiv(classes.bias, logits, norms[:, count, None])

    return answered(features, classes, grow, predict)[[left.index(len(goes) - count) for count in asked]]


def _checked_features(order: Tensor | Sequence[int], d: int) -> Int64[Tensor, " m"]:
    chosen = torch.as_tensor(order, dtype=torch.int64).reshape(-1)
    names = chosen.tolist()
    if len(set(names)) < len(names) or not all(0 <= name < d for name in names):
        raise ValueError(f"order must name different features from 0 to {d - 1}, not {names[:10]}.")
    return chosen
