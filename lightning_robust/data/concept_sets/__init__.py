"""Concept sets: images with labels of what they show, do not show, and were not annotated for (METHODS 5)."""

from lightning_robust.data.concept_sets.broden import broden_concepts
from lightning_robust.data.concept_sets.concept_set import ConceptSet, concept_loader
from lightning_robust.data.concept_sets.hub import hub_concepts
from lightning_robust.data.concept_sets.image_folder import csv_concepts
from lightning_robust.data.concept_sets.scenes import scenes_concepts
from lightning_robust.data.concept_sets.spec import CONCEPT_SPECS, open_concept_set
from lightning_robust.data.reading import MAX_UNREADABLE, TolerantLoader, UnreadableImageError

__all__ = [
    "CONCEPT_SPECS",
    "MAX_UNREADABLE",
    "ConceptSet",
    "TolerantLoader",
    "UnreadableImageError",
    "broden_concepts",
    "concept_loader",
    "csv_concepts",
    "hub_concepts",
    "open_concept_set",
    "scenes_concepts",
]
