"""The attributes of each scene, a pure function of `(seed, split, index)`.

Every number comes from a counter hash (SplitMix64's finaliser) of its place, not from a stream, so that an image is the
same whoever asks for it, in whatever order, batch or process.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_robust.data.scenes.distributions import Distribution
from lightning_robust.data.scenes.silhouettes import VARIANTS
from lightning_robust.data.scenes.vocabulary import CLASSES, COLOURS, SCENES, STYLES, TEXTURES, TYPICAL

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_TYPICAL = np.array(
    [
        [list(SCENES).index(s), list(COLOURS).index(c), TEXTURES.index(t)]
        for s, c, t in (TYPICAL[name] for name in CLASSES)
    ]
)


class Dice:
    """Uniform numbers addressed by name: `dice("size")` is the same array whenever it is asked for.

    Args:
        seed: Seed of the world.
        stream: Any text that tells apart what must differ, such as distribution and split.
        indices: Image numbers, shape `(n,)`.
    """

    def __init__(self, seed: int, stream: str, indices: Sequence[int] | Ints) -> None:
        self.indices = np.asarray(indices, dtype=np.uint64)
        self._base = np.uint64((seed * 0x9E3779B97F4A7C15 + zlib.crc32(stream.encode())) % 2**64)

    def __call__(self, name: str, low: float = 0.0, high: float = 1.0) -> Floats:
        """Uniform numbers in `[low, high)`, shape `(n,)`."""
        field = np.uint64(zlib.crc32(name.encode()) * 0xD1B54A32D192ED03 % 2**64)
        with np.errstate(over="ignore"):
            x = _mix(_mix(self._base ^ field) + _mix(self.indices))
        return low + (high - low) * (x >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def choice(self, name: str, n: int) -> Ints:
        """Uniform integers in `0 … n − 1`, shape `(n,)`."""
        return (self(name) * n).astype(np.int64)


def _mix(x: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        x = np.asarray(x, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Scenes:
    """What n images show, one array of length n for each attribute (indices into the lists of `vocabulary`)."""

    label: Ints
    variant: Ints
    colour: Ints
    texture: Ints
    scene: Ints
    style: Ints
    size: Floats
    rotation: Floats
    shear: Floats
    mirrored: NDArray[np.bool_]
    x: Floats
    y: Floats
    bar: NDArray[np.bool_]
    bar_angle: Floats
    bar_offset: Floats
    bar_width: Floats
    contrast: Floats
    noise: Floats
    dice: Dice

    def __len__(self) -> int:
        return len(self.label)


def draw_scenes(distribution: Distribution, seed: int, split: str, indices: Sequence[int] | Ints) -> Scenes:
    """Draw the attributes of the images `indices` of one split of a distribution.

    Classes go round in order of the index, so that every stretch of images is balanced.

    Args:
        distribution: What the images look like.
        seed: Seed of the world.
        split: `"train"`, `"val"` or `"test"`; splits never share an image.
        indices: Image numbers, any order, shape `(n,)`.
    """
    d = distribution
    dice = Dice(seed, f"{d.name}/{split}", indices)
    label = (dice.indices % np.uint64(len(CLASSES))).astype(np.int64)
    model_class = label
    if d.typical_of_another:
        model_class = (label + 1 + dice.choice("another", len(CLASSES) - 1)) % len(CLASSES)
    weights = np.array([dict(d.styles).get(style, 0.0) for style in STYLES])
    style = np.searchsorted(np.cumsum(weights / weights.sum()), dice("style"), side="right")
    return Scenes(
        label=label,
        variant=dice.choice("variant", VARIANTS),
        scene=_typical_or_not(dice, "scene", _TYPICAL[model_class, 0], len(SCENES), d.typical_scene),
        colour=_typical_or_not(dice, "colour", _TYPICAL[model_class, 1], len(COLOURS), d.typical_colour),
        texture=_typical_or_not(dice, "texture", _TYPICAL[model_class, 2], len(TEXTURES), d.typical_texture),
        style=np.minimum(style, len(STYLES) - 1),
        size=dice("size", *d.size),
        rotation=dice("rotation", -d.rotation, d.rotation),
        shear=dice("shear", -d.shear, d.shear),
        mirrored=dice("mirrored") < 0.5,
        x=dice("x", -d.shift, d.shift),
        y=dice("y", -d.shift, d.shift),
        bar=dice("bar") < d.bar,
        bar_angle=dice("bar_angle", 0.0, np.pi),
        bar_offset=dice("bar_offset", -0.4, 0.4),
        bar_width=dice("bar_width", *d.bar_width),
        contrast=dice("contrast", *d.contrast),
        noise=dice("noise", *d.noise),
        dice=dice,
    )


def _typical_or_not(dice: Dice, name: str, typical: Ints, n: int, probability: float) -> Ints:
    """The typical value with the given probability, else uniform over the others (over all where it is zero)."""
    if probability == 0.0:
        return dice.choice(f"{name}/other", n)
    other = (typical + 1 + dice.choice(f"{name}/other", n - 1)) % n
    return np.where(dice(f"{name}/typical") < probability, typical, other)
