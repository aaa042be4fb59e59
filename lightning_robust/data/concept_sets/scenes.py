"""The clean probe images of the scenes world as a concept set: needs no download."""

from typing import Any

import numpy as np
from PIL import Image

from lightning_robust.data.concept_sets.concept_set import ConceptSet, Transform
from lightning_robust.data.scenes.concepts import CONCEPT_CATEGORIES, CONCEPT_NAMES
from lightning_robust.data.scenes.dataset import SceneImages
from lightning_robust.data.scenes.distributions import CONCEPTS, WORLD_VERSION, Distribution

__all__ = ["ScenePictures", "scenes_concepts"]


class ScenePictures:
    """Rendered scenes as PIL images, by their number.

    Args:
        distribution: What the images look like.
        seed: Seed of the world.
        n: Images of the test split.
        concepts: Whether their concept labels are wanted.

    Attributes:
        labels: Concept labels `(n, C)` int8, None unless asked for.
        classes: The class of each, `(n,)`, by its place in `CLASSES`.

    Raises:
        ValueError: If n is below 1 or the seed negative.
    """

    def __init__(self, distribution: Distribution, seed: int, n: int, *, concepts: bool = False) -> None:
        if n < 1 or seed < 0:
            raise ValueError(f"the scenes world needs n of at least 1 and a seed of at least 0, got {n} and {seed}")
        scenes = SceneImages(distribution, seed, "test", n, _no_transform, concepts=concepts)
        self.pixels, self.labels, self.classes = scenes.images, scenes.concepts, scenes.labels

    def __len__(self) -> int:
        return len(self.pixels)

    def open(self, index: int) -> Image.Image:
        """Scene `index`, 32 × 32 pixels."""
        return Image.fromarray(np.ascontiguousarray(self.pixels[index].transpose(1, 2, 0)))


def _no_transform(image: Image.Image) -> Any:
    return image


def scenes_concepts(transform: Transform | None = None, *, n: int = 2000, seed: int = 0) -> ConceptSet:
    """The concept set of the scenes world, the images of `ScenesDataModule.concept_dataloader`.

    Args:
        transform: From a PIL image to a tensor.
        n: Number of images.
        seed: Seed of the world.

    Returns:
        The set; its categories are class, part, colour, texture, scene, style, size and pose.

    Raises:
        ValueError: If n is below 1 or the seed negative.

    Example:
        >>> scenes = scenes_concepts(n=3)
        >>> scenes.concepts[0], scenes.categories[0], len(scenes)
        ('class:star', 'class', 3)
    """
    pictures = ScenePictures(CONCEPTS, seed, n, concepts=True)
    if pictures.labels is None:
        raise ValueError("the scenes world gave no concept labels")
    source = f"scenes world, version {WORLD_VERSION}, clean probe images, seed {seed}"
    return ConceptSet("scenes", source, CONCEPT_NAMES, CONCEPT_CATEGORIES, pictures, pictures.labels, transform)
