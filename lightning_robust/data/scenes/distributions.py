"""The distributions of the scenes world as frozen records: pretraining corpora, reference, five shifts, concept set.

Each shift mirrors one of ImageNet's natural shifts in *what* it moves; none of them is fitted to a model. The corpora
differ in what makes web-scale ones differ: how many styles they show, how far an object's surroundings follow from
its class, and how freely it is posed.
"""

from dataclasses import dataclass, fields, replace
from typing import Final

from lightning_robust.data.scenes.vocabulary import STYLES

WORLD_VERSION: Final = 1

_PHOTO: Final = (("photo", 1.0),)
_ALL_STYLES: Final = tuple((style, 1.0) for style in STYLES)
_RENDITIONS: Final = tuple((style, 1.0) for style in STYLES if style not in ("photo", "sketch"))


@dataclass(frozen=True)
class Distribution:
    """What images of a distribution look like: every choice that the renderer makes, as numbers.

    Attributes:
        name: Name in tables and tags.
        mirrors: The natural data set that it stands for, or what it is used for.
        styles: Style names with relative weights.
        typical_scene: Probability that the scene is the one typical of the class, otherwise uniform over the others.
        typical_colour: The same for the colour.
        typical_texture: The same for the texture.
        typical_of_another: Typical attributes are those of a randomly chosen *other* class.
        size: Range of the half-size of the square that the object fills, as a share of half the image.
        rotation: Largest rotation to either side, degrees.
        shear: Largest horizontal shear.
        shift: Largest displacement of the centre along each axis, as a share of half the image.
        bar: Probability of a bar in front of the object.
        bar_width: Range of the bar's half-width, as a share of half the image.
        contrast: Range of the factor around mid-grey.
        noise: Range of the standard deviation of the pixel noise, in units of the full range.
    """

    name: str
    mirrors: str
    styles: tuple[tuple[str, float], ...] = _PHOTO
    typical_scene: float = 0.0
    typical_colour: float = 0.0
    typical_texture: float = 0.0
    typical_of_another: bool = False
    size: tuple[float, float] = (0.45, 0.85)
    rotation: float = 20.0
    shear: float = 0.1
    shift: float = 0.2
    bar: float = 0.15
    bar_width: tuple[float, float] = (0.06, 0.12)
    contrast: tuple[float, float] = (0.6, 1.0)
    noise: tuple[float, float] = (0.02, 0.08)

    def key(self) -> str:
        """All parameters in one line, the part of a cache's name that says what was drawn."""
        return ";".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))


BROAD: Final = Distribution(
    "broad", "pretraining with captions", _ALL_STYLES,
    size=(0.45, 0.95), rotation=45.0, shear=0.2, shift=0.2, bar=0.2, bar_width=(0.06, 0.14),
    contrast=(0.55, 1.0), noise=(0.02, 0.1),
)  # fmt: skip
REFERENCE: Final = Distribution(
    "reference", "ImageNet", typical_scene=0.7, typical_colour=0.6, typical_texture=0.5,
    size=(0.5, 0.9), bar=0.1, noise=(0.02, 0.06),
)  # fmt: skip
SHIFTS: Final = (
    Distribution(
        "v2", "ImageNet-V2", typical_scene=0.6, typical_colour=0.5, typical_texture=0.4,
        size=(0.4, 0.8), rotation=30.0, shear=0.15, shift=0.25, bar=0.25, noise=(0.03, 0.11),
    ),
    Distribution(
        "sketch", "ImageNet-Sketch", (("sketch", 1.0),),
        size=(0.4, 0.8), rotation=35.0, shear=0.2, shift=0.25, bar=0.3, bar_width=(0.08, 0.16),
        contrast=(0.4, 0.85), noise=(0.05, 0.14),
    ),
    Distribution("rendition", "ImageNet-R", _RENDITIONS, bar=0.2),
    Distribution(
        "objectnet", "ObjectNet", size=(0.4, 0.8), rotation=100.0, shear=0.35, shift=0.25, bar=0.2,
    ),
    Distribution(
        "adversarial", "ImageNet-A",
        typical_scene=0.8, typical_colour=0.7, typical_texture=0.6, typical_of_another=True,
        size=(0.35, 0.65), rotation=40.0, shear=0.2, shift=0.25, bar=0.6, bar_width=(0.08, 0.18), noise=(0.03, 0.11),
    ),
)  # fmt: skip
_FREE_POSE: Final = Distribution(
    "", "", size=(0.45, 0.95), rotation=45.0, shear=0.2, bar=0.2, noise=(0.02, 0.1)
)  # fmt: skip
#: What a study's CLIPs are pretrained on, from the most to the least diverse; `broad` and `reference` are the ends.
CORPORA: Final = (
    replace(
        _FREE_POSE, name="diverse", mirrors="OpenAI's 400 million pairs",
        styles=tuple((style, 2.0 if style == "photo" else 1.0) for style in STYLES),
        typical_scene=0.25, typical_colour=0.2, typical_texture=0.2,
    ),
    replace(
        _FREE_POSE, name="web", mirrors="LAION",
        styles=tuple((style, 9.0 if style == "photo" else 1.0) for style in STYLES),
        typical_scene=0.4, typical_colour=0.35, typical_texture=0.3,
    ),
    replace(
        _FREE_POSE, name="snapshots", mirrors="YFCC-15M",
        styles=(("photo", 18.0), ("sketch", 1.0), ("painting", 1.0)),
        typical_scene=0.3, typical_colour=0.25, typical_texture=0.2,
    ),
    Distribution(
        "stock", "CC-12M", (("photo", 8.0), ("cartoon", 1.0), ("painting", 1.0)),
        typical_scene=0.6, typical_colour=0.5, typical_texture=0.4, size=(0.5, 0.9), bar=0.1, noise=(0.02, 0.06),
    ),
)  # fmt: skip
CONCEPTS: Final = Distribution(
    "concepts", "clean probe images", (("photo", 1.0), ("sketch", 1.0), ("cartoon", 1.0)),
    size=(0.45, 0.95), rotation=100.0, shear=0.0, shift=0.05, bar=0.0, contrast=(0.95, 1.0), noise=(0.0, 0.02),
)  # fmt: skip
DISTRIBUTIONS: Final = {d.name: d for d in (BROAD, REFERENCE, *SHIFTS, CONCEPTS, *CORPORA)}
