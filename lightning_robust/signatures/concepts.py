"""Average precision of directions for concepts, exact and fast (METHODS 5)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Integer
from torch import Tensor

Unknown = Literal["ignore", "negative"]
"""What becomes of images that were not annotated for a concept."""

Labels = Integer[Tensor, "n C"] | Bool[Tensor, "n C"]
"""Image-level labels: 1 the concept is there, 0 it is not, −1 not annotated."""


def check_labels(labels: Labels) -> None:
    """Raise ``ValueError`` if labels hold anything but 1, 0 and −1."""
    if labels.numel() and not (int(labels.min()) >= -1 and int(labels.max()) <= 1):
        raise ValueError(f"labels must be 1, 0 or -1, they reach from {int(labels.min())} to {int(labels.max())}.")


def concept_average_precision(
    scores: Float[Tensor, "n D"], labels: Labels, unknown: Unknown = "ignore"
) -> Float64[Tensor, "D C"]:
    """Average precision of every direction's score for every concept.

    The exact step-wise area under the precision-recall curve with ties handled as
    ``sklearn.metrics.average_precision_score`` does: the mean over a concept's positive images i of (positives with a
    score ≥ s_i) / (known images with a score ≥ s_i).

    Args:
        scores: ``(n, D)``, ``⟨v, h(x)⟩`` for D directions; ``h`` of unit norm, as the head reads it.
        labels: ``(n, C)`` in {1, 0, −1 unknown}.
        unknown: ``"ignore"`` leaves an image out for the concepts it is unknown for, ``"negative"`` counts it as 0.

    Returns:
        ``(D, C)`` in float64, in (0, 1]; NaN where a concept has no (known) positive.

    Raises:
        ValueError: if scores hold NaN, the numbers of images differ, labels hold other values, or ``unknown`` is
            neither word.

    Example:
        >>> scores = torch.tensor([[0.9], [0.8], [0.7]])
        >>> concept_average_precision(scores, torch.tensor([[1, 0], [0, -1], [1, 1]]))
        tensor([[0.8333, 0.5000]], dtype=torch.float64)
    """
    values, prepared = _prepare(scores, labels, unknown)
    result = np.stack([prepared.average_precision(column) for column in values]) if len(values) else _no_rows(labels)
    return torch.from_numpy(result).to(scores.device)


def signed_average_precision(
    scores: Float[Tensor, "n D"], labels: Labels, unknown: Unknown = "ignore"
) -> Float64[Tensor, "D C"]:
    """The larger average precision of each direction and its negative, since the sign of a direction is arbitrary.

    Arguments, values and errors as for ``concept_average_precision``.

    Example:
        >>> scores = torch.tensor([[0.9], [0.8], [0.7]])
        >>> signed_average_precision(scores, torch.tensor([[0], [0], [1]]))
        tensor([[1.]], dtype=torch.float64)
    """
    values, prepared = _prepare(scores, labels, unknown)
    result = np.stack([prepared.signed(column) for column in values]) if len(values) else _no_rows(labels)
    return torch.from_numpy(result).to(scores.device)


@dataclass(frozen=True)
class _Positives:
    """Labels, sorted out once: every direction needs one sort of the images and one of the positive pairs.

    ``pairs`` lists (concept, image) with label 1, ordered by concept; concepts with the same known images share a row
    of ``masks``, so the rank among the known is computed once per mask rather than once per concept.
    """

    n: int
    count: np.ndarray  # (C,) positives per concept
    known: np.ndarray  # (C,) known images per concept
    pair_image: np.ndarray
    pair_mask: np.ndarray
    pair_base: np.ndarray  # concept · (n + 1), so that one sort orders all concepts
    masks: np.ndarray  # (M, n)

    def average_precision(self, scores: np.ndarray) -> np.ndarray:
        """AP of one direction for every concept, ``(C,)``."""
        ranks, _ = self._ranks(scores)
        return self._mean_precision(*self._sorted_pairs(ranks))

    def signed(self, scores: np.ndarray) -> np.ndarray:
        """The larger AP of a direction and its negative."""
        ranks, tied = self._ranks(scores)
        position, rank = self._sorted_pairs(ranks)
        up = self._mean_precision(position, rank)
        if tied:
            down = self.average_precision(-scores)
        else:
            # without ties the order of −v is the mirror image
            count, known = (np.repeat(x, self.count) for x in (self.count, self.known))
            down = self._mean_precision(count + 1 - position, known + 1 - rank)
        larger: np.ndarray = np.fmax(up, down)
        return larger

    def _ranks(self, scores: np.ndarray) -> tuple[np.ndarray, bool]:
        """Per mask and image: how many known images score at least as high. And whether any two images tie."""
        order = np.argsort(-scores)
        ordered = scores[order]
        differs = ordered[1:] != ordered[:-1]
        tied = not bool(differs.all())
        ranks = np.empty(self.masks.shape, dtype=np.int32)
        for mask, row in zip(self.masks, ranks, strict=True):
            at_least = np.cumsum(mask[order], dtype=np.int32)
            row[order] = at_least[_run_ends(differs)] if tied else at_least
        return ranks, tied

    def _sorted_pairs(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positives ordered by concept and rank: how many positives score at least as high, and how many known."""
        keys = self.pair_base + ranks[self.pair_mask, self.pair_image]
        keys.sort()
        starts = np.repeat(np.cumsum(self.count) - self.count, self.count)
        differs = keys[1:] != keys[:-1]
        here = np.arange(len(keys))
        ends = here if bool(differs.all()) else _run_ends(differs)
        return ends + 1 - starts, keys - self.pair_base

    def _mean_precision(self, position: np.ndarray, rank: np.ndarray) -> np.ndarray:
        result = np.full(len(self.count), np.nan)
        some = self.count > 0
        if some.any():
            first = (np.cumsum(self.count) - self.count)[some]
            result[some] = np.add.reduceat(position / rank, first) / self.count[some]
        return result


def _run_ends(differs: np.ndarray) -> np.ndarray:
    """For each element the index of the last one of its run, given where neighbours differ."""
    ends = np.append(np.flatnonzero(differs), len(differs))
    return np.repeat(ends, np.diff(ends, prepend=-1))


def _key_dtype(n: int, C: int) -> type[np.int32 | np.int64]:
    """The narrower the keys the faster they sort; the largest is ``C (n + 1) − 1``."""
    return np.int32 if C * (n + 1) <= 2**31 else np.int64


def _no_rows(labels: Tensor) -> np.ndarray:
    return np.empty((0, labels.shape[1]))


def _prepare(scores: Tensor, labels: Tensor, unknown: str) -> tuple[np.ndarray, _Positives]:
    if len(scores) != len(labels):
        raise ValueError(f"scores have {len(scores)} images and labels {len(labels)}; they must be the same images.")
    if unknown not in ("ignore", "negative"):
        raise ValueError(f"unknown must be 'ignore' or 'negative', not {unknown!r}.")
    values = scores.detach()
    if values.dtype not in (torch.float32, torch.float64):
        values = values.to(torch.float32)
    columns = np.ascontiguousarray(values.cpu().numpy().T)
    if np.isnan(columns).any():
        raise ValueError("scores hold NaN, which has no rank.")
    check_labels(labels)
    return columns, _positives(labels.cpu().numpy().astype(np.int8), unknown)


def _positives(y: np.ndarray, unknown: str) -> _Positives:
    n, C = y.shape
    known = np.ascontiguousarray((y >= 0).T) if unknown == "ignore" else np.ones((C, n), dtype=bool)
    rows: dict[bytes, int] = {}
    mask_of = np.array([rows.setdefault(np.packbits(row).tobytes(), len(rows)) for row in known], dtype=np.intp)
    firsts = np.unique(mask_of, return_index=True)[1]
    concept, image = np.nonzero((y == 1).T)
    return _Positives(
        n=n,
        count=np.bincount(concept, minlength=C),
        known=known.sum(axis=1),
        pair_image=image,
        pair_mask=mask_of[concept],
        pair_base=(concept * (n + 1)).astype(_key_dtype(n, C)),
        masks=known[firsts],
    )
