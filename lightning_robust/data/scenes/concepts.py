"""Image-level concept labels of scenes: what an image shows, what it does not, and what cannot be told."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.scenes.draws import Floats, Ints, Scenes
from lightning_robust.data.scenes.visibility import is_visible
from lightning_robust.data.scenes.vocabulary import (
    CLASSES,
    COLOURS,
    PART_OF,
    PARTS,
    POSES,
    SCENES,
    SIZES,
    STYLES,
    TEXTURES,
)  # fmt: skip

CATEGORIES: Final = {
    "class": CLASSES, "part": PARTS, "colour": tuple(COLOURS), "texture": TEXTURES, "scene": tuple(SCENES),
    "style": STYLES, "size": SIZES, "pose": POSES,
}  # fmt: skip
#: Every concept as `category:name`, the column order of `concept_labels`.
CONCEPT_NAMES: Final = tuple(f"{category}:{name}" for category, names in CATEGORIES.items() for name in names)
CONCEPT_CATEGORIES: Final = tuple(category for category, names in CATEGORIES.items() for _ in names)

#: Half-sizes (share of half the image) at which small becomes medium and medium large.
SIZE_LIMITS: Final = (0.55, 0.72)
#: Degrees at which upright becomes tilted and tilted sideways.
POSE_LIMITS: Final = (20.0, 55.0)
#: A part counts as seen from this many pixels on.
_PART_PIXELS: Final = 3


def grade(values: Floats, limits: tuple[float, ...]) -> Ints:
    """The number of limits that each value reaches."""
    return np.searchsorted(limits, values, side="right").astype(np.int64)


def concept_labels(scenes: Scenes, part_area: NDArray[np.float32]) -> NDArray[np.int8]:
    """Label n scenes with every concept.

    Args:
        scenes: What the images show.
        part_area: Visible pixels of each object's part, `(n,)`, as `render` returns them.

    Returns:
        `(n, C)` in {1, 0, −1}: shown, not shown, unknown. Unknown are the colour, texture, scene or part where the
        style hides them, and an object's own part where fewer than three of its pixels are seen.
    """
    pose = grade(abs(scenes.rotation), POSE_LIMITS)
    columns = {
        "class": scenes.label, "colour": scenes.colour, "texture": scenes.texture, "scene": scenes.scene,
        "style": scenes.style, "size": grade(scenes.size, SIZE_LIMITS), "pose": pose,
        "part": np.array([[*PARTS, PART_OF[name]].index(PART_OF[name]) for name in CLASSES])[scenes.label],
    }  # fmt: skip
    blocks = []
    for category, names in CATEGORIES.items():
        block = (columns[category][:, None] == np.arange(len(names))).astype(np.int8)
        if category == "part":
            block[(block == 1) & (part_area < _PART_PIXELS)[:, None]] = -1
        block[~is_visible(category, scenes.style)] = -1
        blocks.append(block)
    return np.concatenate(blocks, axis=1)
