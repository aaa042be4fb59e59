"""Massive activations, accumulated over images (METHODS 2)."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_robust.signatures.massive import (
    MAGNITUDE,
    RATIO,
    checked_hidden,
    largest_magnitudes,
    massive,
    median_magnitudes,
)
from lightning_robust.signatures.mergeable import MergeableMetric


class MassiveActivations(MergeableMetric):
    """Accumulate ``massive_activations`` over images, in a state of a few numbers.

    Takes hidden states as a layer gives them, not pooled: all values that one image has at the layer count together.
    Medians are computed only for hidden states that hold a value above the magnitude, so that a layer without one
    costs a single look at its largest values.

    ``compute()`` returns a dict of float64 scalars (counts of images are int64):
        ``count``: mean number of massive activations of an image.
        ``images``: share of the images with one or more, in [0, 1].
        ``largest``: largest magnitude of any value.
        ``largest_ratio``: largest ratio of a value's magnitude to the median magnitude of its hidden state, among the
            hidden states with a value above the magnitude; NaN where there is none, infinite for a median of 0.
        ``n``: images seen.
        ``not_finite``: images among them that were left out for a NaN or infinite value.
    Figures are NaN where no image is left.

    Args:
        magnitude: least magnitude of a massive activation.
        ratio: least ratio to the median magnitude of its hidden state.
        kwargs: for ``torchmetrics.Metric``.

    Raises:
        ValueError: if the rule is out of range, or an image has no values.
        TypeError: if the hidden states are not floating point.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> h = torch.full((4, 3, 8), 0.1)
        >>> h[0, 0, 3] = 150.0
        >>> metric = MassiveActivations()
        >>> metric.update(h)
        >>> result = metric.compute()
        >>> float(result["count"]), float(result["images"]), float(result["largest"])
        (0.25, 0.25, 150.0)
    """

    uses_hidden: ClassVar[bool] = True
    settings = ("magnitude", "ratio")
    extremes: Tensor
    found: Tensor
    images: Tensor
    n: Tensor
    not_finite: Tensor

    def __init__(self, magnitude: float = MAGNITUDE, ratio: float = RATIO, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not magnitude > 0:
            raise ValueError(f"magnitude must be positive, not {magnitude}.")
        if not ratio > 0:
            raise ValueError(f"ratio must be positive, not {ratio}.")
        self.magnitude = float(magnitude)
        self.ratio = float(ratio)
        # largest magnitude and largest ratio, where there is one; no columns before the first update
        self.add_state("extremes", torch.zeros(1, 0, dtype=torch.float64), dist_reduce_fx="max")
        for count in ("found", "images", "n", "not_finite"):
            self.add_state(count, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, hidden: Float[Tensor, "n *state"]) -> None:
        """Add the hidden states of one batch, ``(n, d)``, ``(n, t, d)`` or a map ``(n, c, h, w)``."""
        flat = checked_hidden(hidden).to(self.device)
        largest = largest_magnitudes(flat)
        finite = largest.isfinite()
        extremes = torch.zeros(1, 2, dtype=torch.float64, device=self.device)
        if bool(finite.any()):
            extremes[0, 0] = largest[finite].max()
        large = finite & (largest > self.magnitude)
        if bool(large.any()):
            candidates = flat[large]
            median = median_magnitudes(candidates)
            per_image = massive(candidates, median, self.magnitude, self.ratio).sum(dim=1)
            extremes[0, 1] = (largest[large] / median).max()
            self.found = self.found + per_image.sum()
            self.images = self.images + (per_image > 0).sum()
        self.extremes = torch.maximum(self.extremes, extremes) if self.extremes.shape[1] else extremes
        self.n = self.n + len(flat)
        self.not_finite = self.not_finite + (~finite).sum()

    def compute(self) -> dict[str, Tensor]:
        """Summarise all images seen; see the class."""
        if self.extremes.shape[1] == 0:
            raise self._nothing_seen()
        kept = self.n - self.not_finite
        largest, ratio = self.extremes[0]
        nan = torch.full_like(largest, torch.nan)
        return {
            "count": self.found.to(torch.float64) / kept,
            "images": self.images.to(torch.float64) / kept,
            "largest": largest if int(kept) else nan,
            "largest_ratio": ratio if float(ratio) > 0 else nan,
            "n": self.n,
            "not_finite": self.not_finite,
        }
