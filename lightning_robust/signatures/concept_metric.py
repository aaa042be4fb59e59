"""Average precision of several bases for concepts, accumulated over images (METHODS 5)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.concept_labels import eligible_concepts, permute_within_category
from lightning_robust.signatures.concepts import Labels, Unknown, check_labels, signed_average_precision
from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.rows import checked_features, float64_pieces, unit_rows


class ConceptAveragePrecision(MergeableMetric):
    """Signed average precision of every direction of several bases for every concept.

    Average precision needs all scores at once, so the features (as unit vectors, 4 bytes a number) and the labels (1
    byte each) of all images are kept: 270 MB for Broden's 63,305 images with d = 768 and 1,197 concepts, on the
    metric's device. Scores are computed in float64 and rounded to float32, so that equal images tie.

    ``compute()`` returns a dict of tensors:
        ``ap/<basis>``: ``(D, C)`` float64, the larger average precision of ``v`` and ``−v``; NaN without a positive.
        ``ap_permuted/<basis>``: the same with labels permuted within category; only if ``categories`` were given.
        ``eligible``: ``(C,)`` bool, see ``eligible_concepts``. ``prevalence``: ``(C,)`` float64, among the known.
        ``n``: images, int64.
    ``count_concepts(result["ap/neurons"], result["eligible"])`` turns it into counts. torchmetrics squeezes a single
    direction with a single concept to a scalar.

    Args:
        bases: named matrices ``(d, D)`` whose columns are directions; compare bases at equal D.
        unknown: what becomes of images that were not annotated for a concept; see ``concept_average_precision``.
        categories: category of each concept, for the permuted control; none by default.
        seed: of the permutation.
        kwargs: for ``torchmetrics.Metric``.

    Raises:
        ValueError: if there is no basis, the widths differ, or the labels do not fit the features or one another.
        RuntimeError: on ``compute()`` before any update.

    Example:
        >>> from lightning_robust.signatures import neurons
        >>> metric = ConceptAveragePrecision({"neurons": neurons(2)})
        >>> metric.update(torch.tensor([[3.0, 4.0], [4.0, 3.0]]), torch.tensor([[1, 0, 1], [0, 1, 1]]))
        >>> metric.compute()["ap/neurons"]
        tensor([[1., 1., 1.],
                [1., 1., 1.]], dtype=torch.float64)
    """

    uses_labels: ClassVar[bool] = True
    features: list[Tensor]
    labels: list[Tensor]

    def __init__(
        self,
        bases: Mapping[str, Float[Tensor, "d _"]],
        unknown: Unknown = "ignore",
        categories: Sequence[str] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not bases:
            raise ValueError("bases is empty; give at least one, such as {'neurons': neurons(d)}.")
        if unknown not in ("ignore", "negative"):
            raise ValueError(f"unknown must be 'ignore' or 'negative', not {unknown!r}.")
        widths = {name: len(basis) for name, basis in bases.items()}
        if len(set(widths.values())) > 1:
            raise ValueError(f"bases must have the same number of features d, not {widths}.")
        self.bases = {name: basis.detach().to(torch.float64, copy=True) for name, basis in bases.items()}
        self.unknown: Unknown = unknown
        self.categories = None if categories is None else tuple(categories)
        self.seed = seed
        self.add_rows_state("features", torch.zeros(0, 0, dtype=torch.float32))
        self.add_rows_state("labels", torch.zeros(0, 0, dtype=torch.int8))

    def update(self, features: Float[Tensor, "n d"], labels: Labels) -> None:
        """Add the images of one batch: features ``(n, d)``, normalised here, and labels ``(n, C)`` in {1, 0, −1}."""
        features = checked_features(features).to(self.device)
        self._check(features, labels)
        self.features.append(torch.cat([unit_rows(rows).float() for rows in float64_pieces(features)]))
        self.labels.append(labels.detach().to(self.device, torch.int8))

    def _check(self, features: Tensor, labels: Tensor) -> None:
        d = len(next(iter(self.bases.values())))
        if features.shape[1] != d:
            raise ValueError(f"the bases have {d} features, the layer gave {features.shape[1]}.")
        if len(labels) != len(features):
            raise ValueError(f"{len(features)} images came with labels for {len(labels)}.")
        concepts = self.labels[0].shape[1] if self.labels else labels.shape[1]
        if labels.shape[1] != concepts:
            raise ValueError(f"this metric has seen {concepts} concepts, now it got {labels.shape[1]}.")
        if self.categories is not None and len(self.categories) != concepts:
            raise ValueError(f"{concepts} concepts need as many categories, not {len(self.categories)}.")
        check_labels(labels)

    def compute(self) -> dict[str, Tensor]:
        """Score all images seen; see the class."""
        features, labels = self.rows("features"), self.rows("labels")
        if len(features) == 0:
            raise self._nothing_seen()
        result = {f"ap/{name}": self._scored(features, basis, labels) for name, basis in self.bases.items()}
        if self.categories is not None:
            permuted = permute_within_category(labels, self.categories, self.seed)
            for name, basis in self.bases.items():
                result[f"ap_permuted/{name}"] = self._scored(features, basis, permuted)
        rule = eligible_concepts(labels)
        result["eligible"] = rule.eligible
        result["prevalence"] = rule.prevalence
        result["n"] = torch.tensor(len(features), device=features.device)
        return result

    def _scored(self, features: Tensor, basis: Tensor, labels: Tensor) -> Float64[Tensor, "D C"]:
        V = basis.to(features.device)
        scores = torch.cat([(h @ V).float() for h in float64_pieces(features)])
        return signed_average_precision(scores, labels, self.unknown)
