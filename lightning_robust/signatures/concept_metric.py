"""Average precision of several bases for concepts, accumulated over images (METHODS 5)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_robust.signatures.bases import random_rotation
from lightning_robust.signatures.concept_checks import check_tensor
from lightning_robust.signatures.concept_labels import eligible_concepts, permute_within_category
from lightning_robust.signatures.concept_ranking import PositiveRanking
from lightning_robust.signatures.concepts import Unknown, average_precision_rows, ranking_of
from lightning_robust.signatures.mergeable import MergeableMetric
from lightning_robust.signatures.rows import checked_features, finite_rows, float64_pieces, unit_rows
from lightning_robust.signatures.sparse_labels import Labels, SparseLabels, as_sparse

_DIRECTIONS = 256
"""Directions whose scores are held at once: 65 MB for Broden."""


_NONE_SEEN = -1
"""Number of concepts before the first images; 0 is a number, too."""


class ConceptAveragePrecision(MergeableMetric):
    """Signed average precision of every direction of several bases for every concept.

    Average precision needs all scores at once, so the features of all images are kept, as unit vectors in float32:
    194 MB for Broden's 63,305 images with d = 768, on the metric's device. Labels are kept sparse, 13 MB there; scores
    are made block by block, in float64 and rounded to float32, so that equal images tie, and ranked on the CPU.

    ``compute()`` returns a dict of tensors:
        ``ap/<basis>``: ``(D, C)`` float64, the larger average precision of ``v`` and ``−v``; NaN without a positive.
        ``negative/<basis>``: ``(D, C)`` bool, whether that is the one of ``−v``.
        ``ap_permuted/<basis>``: ``ap`` with labels permuted within category; only if ``categories`` were given.
        ``eligible``: ``(C,)`` bool, see ``eligible_concepts``. ``prevalence``: ``(C,)`` float64, among the known: about
        what the average precision of random scores is.
        ``n``: images, int64. ``not_finite``: how many of them hold a NaN or an infinity, int64; they are left out.
    ``count_concepts(result["ap/neurons"], result["eligible"])`` turns it into counts, ``concept_lists`` into lists.
    torchmetrics squeezes a single direction with a single concept to a scalar. With one image, or all left out, every
    average precision is 1 or NaN and no concept is eligible; without concepts the tables are ``(D, 0)``.

    Args:
        bases: named matrices ``(d, D)`` whose columns are directions; compare bases at equal D.
        unknown: what becomes of images that were not annotated for a concept; see ``concept_average_precision``.
        categories: category of each concept, for the permuted control; none by default.
        seed: of the permutation.
        kwargs: for ``torchmetrics.Metric``.

    Raises:
        TypeError: if a basis, features or labels are no tensor.
        ValueError: if there is no basis, one is no matrix of finite numbers, the widths differ, the labels do not fit
            the features or one another, or what is merged has other settings or has seen another number of concepts.
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
    settings: ClassVar[tuple[str, ...]] = ("bases", "unknown", "categories", "seed")
    features: list[Tensor]
    positives_per_image: list[Tensor]
    positives: list[Tensor]
    known: list[Tensor]
    concepts: Tensor
    not_finite: Tensor

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
        for name, basis in bases.items():
            wrong = int((~check_tensor(basis, f"basis {name!r}", "(d, D)").isfinite()).sum())
            if wrong:
                raise ValueError(f"basis {name!r} must be finite; {wrong} of its {basis.numel()} numbers are not.")
        widths = {name: len(basis) for name, basis in bases.items()}
        if len(set(widths.values())) > 1:
            raise ValueError(f"bases must have the same number of features d, not {widths}.")
        self.bases = {name: basis.detach().to(torch.float64, copy=True) for name, basis in bases.items()}
        self.unknown: Unknown = unknown
        self.categories = None if categories is None else tuple(categories)
        self.seed = seed
        # first, so that nothing is merged before it is compared
        self.add_state("concepts", torch.tensor(_NONE_SEEN), dist_reduce_fx=_same_concepts)
        self.add_rows_state("features", torch.zeros(0, 0, dtype=torch.float32))
        self.add_rows_state("positives_per_image", torch.zeros(0, dtype=torch.int32))
        self.add_rows_state("positives", torch.zeros(0, dtype=torch.int32))
        self.add_rows_state("known", torch.zeros(0, 0, dtype=torch.uint8))
        self.add_state("not_finite", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, features: Float[Tensor, "n d"], labels: Labels | SparseLabels) -> None:
        """Add the images of one batch.

        Args:
            features: ``(n, d)``, normalised here.
            labels: ``(n, C)`` in {1, 0, −1}, or ``SparseLabels``.
        """
        check_tensor(features, "features")
        features, sparse = checked_features(features).to(self.device), as_sparse(labels).to(self.device)
        self._check(features, sparse)
        features, finite = finite_rows(features)
        self.not_finite = self.not_finite + (~finite).sum()  # not in place: it may come from an inference mode
        if len(features) < len(sparse):
            sparse = sparse.select(finite)
        self.features.append(torch.cat([unit_rows(rows).float() for rows in float64_pieces(features)]))
        self.positives_per_image.append(sparse.positives_per_image)
        self.positives.append(sparse.positives)
        self.known.append(sparse.known)
        self.concepts = torch.full_like(self.concepts, sparse.concepts)

    def _check(self, features: Tensor, labels: SparseLabels) -> None:
        d = len(next(iter(self.bases.values())))
        if features.shape[1] != d:
            raise ValueError(f"the bases have {d} features, the layer gave {features.shape[1]}.")
        if len(labels) != len(features):
            raise ValueError(f"{len(features)} images came with labels for {len(labels)}.")
        concepts = int(self.concepts) if self.features else labels.concepts
        if labels.concepts != concepts:
            raise ValueError(f"this metric has seen {concepts} concepts, now it got {labels.concepts}.")
        if self.categories is not None and len(self.categories) != concepts:
            raise ValueError(f"{concepts} concepts need as many categories, not {len(self.categories)}.")

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        if "concepts" in incoming_state:
            _same_concepts(torch.stack([self.concepts, incoming_state["concepts"].to(self.device)]))
        super()._reduce_states(incoming_state)

    def compute(self) -> dict[str, Tensor]:
        """Score all images seen; see the class."""
        features = self.rows("features")
        if features.shape[1] == 0:
            raise self._nothing_seen()
        labels = SparseLabels(
            self.rows("positives_per_image"), self.rows("positives"), self.rows("known"), int(self.concepts)
        )
        result, ranking = {}, ranking_of(labels, self.unknown)
        for name, basis in self.bases.items():
            up, down = self._scored(features, basis, ranking)
            result[f"ap/{name}"], result[f"negative/{name}"] = torch.fmax(up, down), down > up
        if self.categories is not None:
            # by what the images look like, not by their place: ranks and batches may come in any order
            order = torch.cat([h @ random_rotation(h.shape[1], 1).to(h) for h in float64_pieces(features)])
            permuted = permute_within_category(labels, self.categories, self.seed, order.flatten().argsort())
            ranking = ranking_of(permuted, self.unknown)
            for name, basis in self.bases.items():
                result[f"ap_permuted/{name}"] = torch.fmax(*self._scored(features, basis, ranking))
        rule = eligible_concepts(labels)
        result["eligible"], result["prevalence"] = rule.eligible, rule.prevalence
        result["n"], result["not_finite"] = len(features) + self.not_finite, self.not_finite.clone()
        return result

    def _scored(
        self, features: Tensor, basis: Tensor, ranking: PositiveRanking
    ) -> tuple[Float64[Tensor, "D C"], Float64[Tensor, "D C"]]:
        found = []
        for V in basis.to(features.device).split(_DIRECTIONS, dim=1):
            scores, first = torch.empty(V.shape[1], len(features), device=features.device), 0
            for h in float64_pieces(features):
                scores[:, first : first + len(h)] = (h @ V).T
                first += len(h)
            found.append(average_precision_rows(ranking, scores))
        up, down = (torch.cat(tables).to(features.device) for tables in zip(*found, strict=True))
        return up, down


def _same_concepts(numbers: Tensor) -> Tensor:
    """The number of concepts that instances, or ranks, have seen; some may have seen nothing yet."""
    seen = numbers[numbers != _NONE_SEEN].unique().tolist()
    if len(seen) > 1:
        raise ValueError(
            f"one of {seen[0]} concepts and one of {seen[-1]} cannot be merged: labels must be of one concept set."
        )
    return numbers.max()
