"""Ablation of features or directions of h: what zero, mean and clip do to it, one by one and together (METHODS 4)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lightning_robust.signatures.bases import checked_head
from lightning_robust.signatures.rows import checked_features, finite_rows, unit_rows

__all__ = [
    "CLIP_AT",
    "KINDS",
    "AblationOf",
    "UnitValues",
    "ablated",
    "ablated_predictions",
    "feature_axes",
    "unit_values",
]

KINDS = ("zero", "mean", "clip")
CLIP_AT = 3.0
"""Standard deviations from its mean that ``clip`` leaves a unit where nothing else is asked for."""

_BLOCK = 256
"""Images whose logits are held at once: 2 MB for 1,000 classes."""

_CANCELLED = 1e-4
"""What is left of ‖h‖² below which logits are computed anew rather than by subtraction."""

_ROUNDING = 16 * torch.finfo(torch.float64).eps
"""Of each of the sums that a logit is made of, relative to ‖h‖ and the largest row of W."""


@dataclass(frozen=True, eq=False)
class UnitValues:
    """How m units are distributed over n images.

    Attributes:
        mean, std: of each unit's value ``⟨u, h⟩`` (population), ``(m,)``.
        low, high: ``mean ∓ 3 · std`` (or another number), what ``clip`` limits it to, ``(m,)``.
        n: images; those with a NaN or infinite feature are left out.
    """

    mean: Float64[Tensor, " m"]
    std: Float64[Tensor, " m"]
    low: Float64[Tensor, " m"]
    high: Float64[Tensor, " m"]
    n: int

    def take(self, chosen: Sequence[int]) -> "UnitValues":
        """Those of some units.

        Args:
            chosen: positions among the m.
        """
        at = list(chosen)
        return UnitValues(self.mean[at], self.std[at], self.low[at], self.high[at], self.n)


@dataclass(frozen=True, eq=False)
class AblationOf:
    """One ablation.

    Attributes:
        units: columns of unit length, features as axes, ``(d, m)``.
        kind: ``"zero"``, ``"mean"`` or ``"clip"``.
        values: of these units over calibration images; None is enough for ``"zero"``.
    """

    units: Float64[Tensor, "d m"]
    kind: str
    values: UnitValues | None = None

    def targets(self, coordinates: Float64[Tensor, "n m"]) -> Float64[Tensor, "n m"]:
        """What the units' values become.

        Args:
            coordinates: their values ``⟨u, h⟩``.

        Raises:
            ValueError: if the kind is unknown, or needs values that were not given.
        """
        if self.kind == "zero":
            return torch.zeros_like(coordinates)
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}.")
        if self.values is None:
            raise ValueError(f"kind {self.kind!r} needs the values of the units, from unit_values.")
        if self.kind == "mean":
            return self.values.mean.expand_as(coordinates)
        return torch.minimum(torch.maximum(coordinates, self.values.low), self.values.high)


def feature_axes(d: int, features: Sequence[int]) -> Float64[Tensor, "d m"]:
    """Features as units: columns of the identity.

    Args:
        d: number of features.
        features: positions in 0 … d − 1, in any order.

    Raises:
        ValueError: if a position is none of the d.

    Example:
        >>> feature_axes(3, [2, 0]).T
        tensor([[0., 0., 1.],
                [1., 0., 0.]], dtype=torch.float64)
    """
    outside = [feature for feature in features if not 0 <= feature < d]
    if outside:
        raise ValueError(f"features must lie in 0 … {d - 1}, not {outside}.")
    axes = torch.zeros(d, len(features), dtype=torch.float64)
    axes[list(features), range(len(features))] = 1.0
    return axes


def unit_values(features: Float[Tensor, "n d"], units: Float[Tensor, "d m"], clip_at: float = CLIP_AT) -> UnitValues:
    """Mean, spread and clipping limits of units over images.

    Args:
        features: h as the encoder gives it, ``(n, d)``.
        units: columns of unit length, ``(d, m)``.
        clip_at: standard deviations from its mean that ``clip`` leaves a unit.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if the widths differ, or no image is left without NaN and infinite features.

    Example:
        >>> found = unit_values(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), feature_axes(2, [0]))
        >>> found.mean.item(), found.std.item(), found.high.item()
        (2.0, 1.0, 5.0)
    """
    h, _ = finite_rows(checked_features(features))
    _check_width(h, units)
    if len(h) == 0:
        raise ValueError("no image has finite features, so the units have no mean.")
    coordinates = h.to(torch.float64) @ units.to(h.device, torch.float64)
    mean, std = coordinates.mean(dim=0), coordinates.std(dim=0, correction=0)
    return UnitValues(mean, std, mean - clip_at * std, mean + clip_at * std, len(h))


def ablated(features: Float[Tensor, "n d"], ablation: AblationOf) -> Float64[Tensor, "n d"]:
    """Representations with units ablated: the smallest change of h after which their values are the wanted ones.

    ``h + U (UᵀU)⁺ (t − Uᵀh)`` with the units as columns of U and t what the kind makes of the values: 0, the mean over
    calibration images, or the value limited to a few standard deviations from it. For a feature that sets one
    coordinate. Units that are not orthogonal are ablated at once, not in turn: zero removes all that they span. Of
    units that depend on one another, values that contradict each other are met in the least squares.

    h is what the encoder gives; a model that normalises does so afterwards, so the rest of h keeps its direction and
    grows to unit length. An image with a NaN or infinite feature stays as it is.

    Args:
        features: h, ``(n, d)``, not normalised.
        ablation: units and kind.

    Returns:
        ``(n, d)`` in float64.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if the widths differ, or the kind is unknown or lacks values.

    Example:
        >>> ablated(torch.tensor([[3.0, 4.0]]), AblationOf(feature_axes(2, [1]), "zero"))
        tensor([[3., 0.]], dtype=torch.float64)
    """
    h = checked_features(features).to(torch.float64)
    _check_width(h, ablation.units)
    U, dual = _dual(ablation.units, h)
    coordinates = h @ U
    changed = h + (ablation.targets(coordinates) - coordinates) @ dual.T
    return torch.where(h.isfinite().all(dim=1, keepdim=True), changed, h)


def ablated_predictions(
    head: Float[Tensor, "C d"],
    features: Float[Tensor, "n d"],
    ablations: Sequence[AblationOf | None],
    predict: Callable[[Float64[Tensor, "n C"]], Int64[Tensor, " n"]],
    *,
    unit_norm: bool,
    bias: Float[Tensor, " C"] | None = None,
    block: int = _BLOCK,
) -> Int64[Tensor, "A n"]:
    """Predictions of a linear head for every ablation, at the cost of one full matrix product and small updates.

    The logits of h are computed once; an ablation of m units adds ``(t − c) (W U⁺)ᵀ``, n × C × m operations. The
    result is that of ``ablated``, normalisation and head one after the other, in float64 (``_CANCELLED``: images of
    which an ablation takes nearly everything are computed that way).

    Where an ablation takes all that the head reads, as zero of all its directions does, what is left of the logits is
    rounding: those that differ by no more than that count as equal, so that the bias decides, and without one the
    first class wins, as with no direction kept in ``pruned_predictions``.

    Args:
        head: weight ``W``, ``(C, d)``.
        features: h as the encoder gives it, ``(n, d)``.
        ablations: A of them; None is the untouched h.
        predict: from logits ``(n, C)`` to classes ``(n,)``; logits are NaN where h holds a NaN or an infinity.
        unit_norm: whether h is scaled to unit length before the head.
        bias: of the head, ``(C,)``.
        block: images at once; the result does not depend on it.

    Returns:
        Classes, ``(A, n)`` int64, on the CPU.

    Raises:
        TypeError: if the features are not floating point.
        ValueError: if the head is not finite or the widths differ, or an ablation is none.

    Example:
        >>> ablations = [None, AblationOf(feature_axes(2, [0]), "zero")]
        >>> largest = lambda logits: logits.argmax(dim=1)
        >>> ablated_predictions(torch.eye(2), torch.tensor([[2.0, 1.0]]), ablations, largest, unit_norm=True)
        tensor([[0],
                [1]])
    """
    h = checked_features(features)
    W = checked_head(head).to(h.device)
    b = None if bias is None else bias.detach().to(h.device, torch.float64)
    plans = [None if one is None else _Plan(one, W, h) for one in ablations]
    found = torch.empty(len(plans), len(h), dtype=torch.int64)
    for first, rows in _blocks(h, block):
        logits, squares = rows @ W.T, rows.square().sum(dim=1)
        for index, plan in enumerate(plans):
            scores = (
                _scaled(logits, squares, unit_norm) if plan is None else plan.logits(rows, logits, squares, unit_norm)
            )
            found[index, first : first + len(rows)] = predict(scores if b is None else scores + b).cpu()
    return found


class _Plan:
    """One ablation, with what every block of images needs of it."""

    def __init__(self, ablation: AblationOf, W: Float64[Tensor, "C d"], h: Tensor) -> None:
        _check_width(h, ablation.units)
        self.ablation, self.W = ablation, W
        self.U, self.dual = _dual(ablation.units, h)
        self.moved, self.gram = W @ self.dual, self.dual.T @ self.dual
        self.rounding = _ROUNDING * sum(self.U.shape) * float(torch.linalg.vector_norm(W, dim=1).max())

    def logits(self, h: Tensor, logits: Tensor, squares: Tensor, unit_norm: bool) -> Float64[Tensor, "n C"]:
        coordinates = h @ self.U
        step = self.ablation.targets(coordinates) - coordinates
        left = squares + 2 * (step * (h @ self.dual)).sum(dim=1) + (step @ self.gram * step).sum(dim=1)
        plain = logits + step @ self.moved.T
        scores = _scaled(plain, left, unit_norm)
        lost = left < _CANCELLED * squares
        if bool(lost.any()):
            rest = h[lost] + step[lost] @ self.dual.T
            plain[lost] = rest @ self.W.T
            scores[lost] = (unit_rows(rest) if unit_norm else rest) @ self.W.T
        size = squares.sqrt() + torch.linalg.vector_norm(step, dim=1)
        equal = plain.amax(dim=1) - plain.amin(dim=1) <= self.rounding * size
        return torch.where(equal[:, None], 0.0, scores)


def _scaled(logits: Tensor, squares: Tensor, unit_norm: bool) -> Tensor:
    """Logits of h of unit length; of h = 0 they are zero."""
    if not unit_norm:
        return logits
    norms = squares.clamp(min=0.0).sqrt()[:, None]
    return torch.where(norms == 0, logits, logits / norms)


def _blocks(h: Tensor, block: int) -> Iterator[tuple[int, Float64[Tensor, "_ d"]]]:
    for first in range(0, len(h), block):
        rows = h[first : first + block].to(torch.float64)
        finite = rows.isfinite().all(dim=1, keepdim=True)
        yield first, torch.where(finite, rows, torch.nan)


def _dual(units: Tensor, h: Tensor) -> tuple[Float64[Tensor, "d m"], Float64[Tensor, "d m"]]:
    """The units U, and ``U (UᵀU)⁺``, along which h moves; U itself where they are orthonormal."""
    U = units.detach().to(h.device, torch.float64)
    gram = U.T @ U
    if torch.allclose(gram, torch.eye(len(gram), dtype=gram.dtype, device=gram.device), rtol=0.0, atol=1e-12):
        return U, U
    return U, torch.linalg.pinv(U).T


def _check_width(h: Tensor, units: object) -> None:
    if not isinstance(units, Tensor) or units.ndim != 2 or units.shape[1] == 0 or not bool(units.isfinite().all()):
        raise ValueError("units must be finite columns (d, m), at least one.")
    if len(units) != h.shape[1]:
        raise ValueError(f"the units have {len(units)} features, h has {h.shape[1]}.")
