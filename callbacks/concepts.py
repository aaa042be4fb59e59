"""Concepts that single directions of a representation encode (METHODS 5)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from torchmetrics import Metric

from lightning_robust.callbacks.signature import Reading, Signature
from lightning_robust.signatures import (
    ConceptAveragePrecision,
    count_concepts,
    neurons,
    random_rotation,
    right_singular_vectors,
)

_THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
#: Average precisions at which directions are counted by how many concepts they encode.
_SHARES: Final = (0.5, 0.9)


class ConceptSignature(Signature):
    """Unique concepts and mean best average precision in neurons, right singular vectors and random rotations.

    The bases are compared at equal numbers of directions: the rank of the head where there is one.

    Args:
        head: Name of the head's module; None asks the measured module's `head_weight()`.
        categories: Category of each concept, for the permuted control; None leaves the control out.
        seed: Of the first random rotation (the k-th has seed + k − 1), the choice of neurons and the permutation.
        rotations: How many random rotations.
    """

    uses_labels: ClassVar[bool] = True

    def __init__(
        self, head: str | None = None, categories: Sequence[str] | None = None, seed: int = 0, rotations: int = 1
    ) -> None:
        super().__init__(head)
        self.categories, self.seed, self.rotations = categories, seed, rotations

    def metrics(self, module: Any, layer: str, d: int, *, synchronise: bool) -> dict[str, Metric]:
        """One metric that scores all bases."""
        del layer
        W = self.head_of_width(module, d)
        bases, k = {}, d
        if W is not None:
            V = right_singular_vectors(W)
            bases["singular_vectors"], k = V, V.shape[1]
        bases["neurons"] = neurons(d, k, self.seed)
        for number in range(self.rotations):
            name = f"random_rotation_{number + 1}" if number else "random_rotation"
            bases[name] = random_rotation(d, k, self.seed + number)
        made = ConceptAveragePrecision(bases, categories=self.categories, seed=self.seed, sync_on_compute=synchronise)
        return {"concepts": made}

    def read(self, layer: str, computed: Mapping[str, Any]) -> Reading:
        """Tags `concepts/…`."""
        found, reading = computed["concepts"], Reading()
        for key, ap in found.items():
            kind, _, basis = key.partition("/")
            if kind not in ("ap", "ap_permuted"):
                continue
            name = f"concepts/{layer}/{basis}" + ("/permuted" if kind == "ap_permuted" else "")
            counts = count_concepts(ap, found["eligible"], _THRESHOLDS)
            for threshold, unique in zip(counts.thresholds, counts.unique_concepts, strict=True):
                reading.scalars[f"{name}/unique_{threshold:g}"] = float(unique)
            reading.scalars[f"{name}/mean_best_ap"] = counts.mean_best_ap
            for level in _SHARES if kind == "ap" else ():
                k = counts.thresholds.index(level)
                reading.scalars[f"{name}/polysemantic_share_{level:g}"] = counts.polysemantic_share[k]
                reading.scalars[f"{name}/monosemantic_share_{level:g}"] = counts.monosemantic_share[k]
        reading.scalars[f"concepts/{layer}/eligible"] = float(found["eligible"].sum())
        if "not_finite" in found:
            reading.scalars[f"not_finite/{layer}/concepts"] = float(found["not_finite"])
        return reading
