"""Direction pruning: predictions from the k directions that are kept of what a head reads, for every k (METHODS 4)."""

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from lightning_robust.signatures.growing_logits import (
    DistinctClasses,
    Predict,
    answered,
    checked_counts,
    distinct_classes,
    growing_logits,
)
from lightning_robust.signatures.reduced_rank import ReducedRank

Order = Literal["importance", "smallest_first", "singular_values", "random"]
ORDERS: tuple[Order, ...] = get_args(Order)


def direction_order(kind: Order, importance: Float[Tensor, " r"], *, seed: int = 0) -> Int64[Tensor, " r"]:
    """In which order directions are kept: the first one longest.

    Args:
        kind: ``importance``: the most important one is kept longest. ``smallest_first``, its control: the least
            important one is kept longest. ``singular_values``: the largest is kept longest, which is the order that
            directions come in. ``random``: drawn with the seed.
        importance: of each direction, ``(r,)``, in the order of the singular values (``direction_importance``), from
            images on which nothing is judged. Equal ones keep that order.
        seed: of the random order.

    Returns:
        The indices of the directions, ``(r,)``, on the CPU.

    Raises:
        ValueError: if the kind is unknown or an importance is NaN.

    Example:
        >>> direction_order("importance", torch.tensor([0.2, 0.5, 0.3]))
        tensor([1, 2, 0])
        >>> direction_order("smallest_first", torch.tensor([0.2, 0.5, 0.3]))
        tensor([0, 2, 1])
    """
    if kind not in ORDERS:
        raise ValueError(f"the order must be one of {', '.join(ORDERS)}, not {kind!r}.")
    if bool(importance.isnan().any()):
        raise ValueError("importance must be known for every direction: it holds a NaN.")
    if kind == "random":
        return torch.randperm(len(importance), generator=torch.Generator().manual_seed(seed))
    if kind == "singular_values":
        return torch.arange(len(importance))
    descending: Tensor = importance.detach().cpu().argsort(descending=True, stable=True)
    return descending if kind == "importance" else descending.flip(0)


def pruned_predictions(
    head: Float[Tensor, "C d"],
    read: Float[Tensor, "n d"],
    directions: Float[Tensor, "d r"],
    order: Int64[Tensor, " r"] | Sequence[int] | None = None,
    *,
    bias: Float[Tensor, " C"] | None = None,
    kept: Sequence[int] | None = None,
    predict: Predict | None = None,
) -> Shaped[Tensor, "K n"]:
    """Predictions from ``h ← V_k V_kᵀ h``, with V_k the first k directions of an order, for many k at once.

    ``W V_k V_kᵀ h = Σ_{i≤k} ⟨v_i, h⟩ W v_i``: each k adds one direction to the logits of the one before, so that all of
    them cost one product with the head, and as many searches for the largest logit. Images are taken in blocks whose
    logits stay in the cache. Everything is float64. A prediction is that of the plain calculation for each k wherever
    the two largest logits differ by more than its rounding, some ``1e-13`` of ``‖h‖‖W‖``; classes with equal weights
    tie exactly, and the first one wins, as in the model.

    With r = rank(W) and these the right singular vectors of W, k = r takes nothing from the logits: the remaining d − r
    directions are null space. With those of the centred head it takes the same from every class, which changes no
    prediction. k = 0 leaves the bias, or zeros: every image gets one class, the first of the largest.

    Memory: the result, 8 bytes for each k and image. Where that is too much, call it for some images at a time.

    Args:
        head: weight of the head that answers, ``(C, d)``: that of the model, or of a set's own class names. For the
            latter the model's null space is not its own, so that k = r may already cost it something.
        read: what the head reads, ``(n, d)``: see ``read_by_head``, unit vectors where the model normalises.
        directions: orthonormal columns, ``(d, r)``.
        order: the indices of the directions, first the one that is kept longest; None takes them as they are.
        bias: of the head, ``(C,)``.
        kept: the k to answer for, from 0 to r; all, from r down to 0, by default.
        predict: how logits become classes, such as a mask's; by default the class of the largest, and ``NO_CLASS`` (−1)
            where a logit is NaN.

    Returns:
        Predicted classes, ``(K, n)``, in the order of ``kept``: int64, or as ``predict`` returns them. An image with a
        NaN or infinite feature has NaN logits for every k.

    Raises:
        TypeError: if head or read are not floating-point tensors.
        ValueError: if head, bias or directions are not finite, shapes do not fit, the order does not name every
            direction once, or a k is out of range.

    Example:
        >>> W, h = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 5.0], [4.0, 1.0]])
        >>> pruned_predictions(W, h, torch.eye(2), kept=[2, 1])
        tensor([[1, 0],
                [0, 0]])
    """
    classes = distinct_classes(head, bias, read.device)
    V = _checked_directions(directions, classes.weight.shape[1]).to(read.device)
    V = V[:, _checked_order(order, V.shape[1]).to(V.device)]
    return _sweep(classes, read, V, V.T @ classes.weight.T, kept, predict)


def reduced_rank_predictions(
    found: ReducedRank,
    read: Float[Tensor, "n d"],
    *,
    head: Float[Tensor, "L d"] | None = None,
    bias: Float[Tensor, " C"] | None = None,
    kept: Sequence[int] | None = None,
    predict: Predict | None = None,
) -> Shaped[Tensor, "K n"]:
    """Predictions of ``W_k = U_k U_kᵀ W``, the best heads of rank k, for many k at once; see ``pruned_predictions``.

    ``W_k h = W P_k h``, where ``P_k h = W⁺ U_k U_kᵀ W h`` is the smallest h that gives these logits. It is what another
    head reads; at k = rank(W) that is the projection on all right singular vectors.

    Args:
        found: the truncation, from images on which nothing is judged.
        read: what the head reads, ``(n, d)``.
        head: another head that answers, ``(L, d)``, such as that of a set's own class names.
        bias: of the head that answers.
        kept: the ranks to answer for, from 0 to r; all, from r down to 0, by default.
        predict: how logits become classes.

    Returns:
        Predicted classes, ``(K, n)``, in the order of ``kept``.

    Raises:
        TypeError: if read or head are not floating-point tensors.
        ValueError: if shapes do not fit or a rank is out of range.

    Example:
        >>> from lightning_robust.signatures import reduced_rank
        >>> found = reduced_rank(torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.diag(torch.tensor([1.0, 4.0])))
        >>> reduced_rank_predictions(found, torch.tensor([[2.0, 1.0]]), kept=[2, 1])  # the second class is kept longest
        tensor([[0],
                [1]])
    """
    W, U = found.weight.to(read.device), found.logit_directions.to(read.device)
    classes = distinct_classes(W if head is None else head, bias, read.device)
    if head is None:
        pieces = U[classes.first]
    elif head.shape[1] == W.shape[1]:
        # the rank of a float32 head, whose rounding float64 would take for directions
        pieces = classes.weight @ (torch.linalg.pinv(W, rtol=max(W.shape) * torch.finfo(torch.float32).eps) @ U)
    else:
        raise ValueError(f"the other head reads {head.shape[1]} features, the truncated one {W.shape[1]}.")
    return _sweep(classes, read, W.T @ U, pieces.T, kept, predict)


def unpruned_predictions(
    head: Float[Tensor, "C d"],
    read: Float[Tensor, "n d"],
    *,
    bias: Float[Tensor, " C"] | None = None,
    predict: Predict | None = None,
) -> Shaped[Tensor, " n"]:
    """Predictions of the head as it is, calculated as those of the sweeps are: what these are compared with.

    Args:
        head: weight of the head, ``(C, d)``.
        read: what it reads, ``(n, d)``.
        bias: of the head, ``(C,)``.
        predict: how logits become classes.

    Returns:
        Predicted classes, ``(n,)``.

    Raises:
        TypeError: if head or read are not floating-point tensors.
        ValueError: if head or bias are not finite, or shapes do not fit.

    Example:
        >>> unpruned_predictions(torch.eye(2), torch.tensor([[1.0, 2.0], [torch.nan, 1.0]]))
        tensor([ 1, -1])
    """
    classes = distinct_classes(head, bias, read.device)
    whole = classes.weight.T.contiguous()
    answers: Tensor = answered(read, classes, lambda rows: [torch.addmm(classes.start(rows), rows, whole)], predict)[0]
    return answers


def _sweep(
    classes: DistinctClasses,
    read: Tensor,
    reading: Float64[Tensor, "d r"],
    pieces: Float64[Tensor, "r D"],
    kept: Sequence[int] | None,
    predict: Predict | None,
) -> Shaped[Tensor, "K n"]:
    """Predictions for ``Σ_{i≤k} ⟨reading_i, h⟩ pieces_i``, for every k."""
    asked = checked_counts(kept, len(pieces), "kept")
    ascending, pieces = sorted(asked), pieces.contiguous()

    def grow(rows: Tensor) -> Iterator[Tensor]:
        return growing_logits(classes.start(rows), rows @ reading, pieces, ascending)

    return answered(read, classes, grow, predict)[[ascending.index(k) for k in asked]]


def _checked_directions(directions: Tensor, d: int) -> Float64[Tensor, "d r"]:
    if directions.ndim != 2 or len(directions) != d:
        raise ValueError(f"directions must have shape ({d}, r), as the head reads, not {tuple(directions.shape)}.")
    if not bool(directions.isfinite().all()):
        raise ValueError("directions must be finite: they hold a NaN or an infinity.")
    return directions.detach().to(torch.float64)


def _checked_order(order: Tensor | Sequence[int] | None, r: int) -> Int64[Tensor, " r"]:
    chosen = torch.arange(r) if order is None else torch.as_tensor(order, dtype=torch.int64)
    if chosen.sort().values.tolist() != list(range(r)):
        raise ValueError(f"order must name each of the {r} directions once, not {chosen.tolist()[:10]}.")
    return chosen
