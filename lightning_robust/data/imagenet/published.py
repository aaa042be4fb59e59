"""What is published about ImageNet and its natural shifts: sizes, sources, names of folders."""

from dataclasses import dataclass
from typing import Final

__all__ = ["SETS", "SHIFT_NAMES", "V2_VARIANTS", "PublishedSet", "published"]

#: Sampling strategies of ImageNet-V2; tables mean matched-frequency where they say nothing.
V2_VARIANTS: Final = ("matched-frequency", "threshold0.7", "top-images")
#: The natural shifts, in the order of tables.
SHIFT_NAMES: Final = ("v2", "r", "sketch", "objectnet", "a")


@dataclass(frozen=True)
class PublishedSet:
    """A set of images as its authors published it.

    Attributes:
        name: Short name.
        title: What people call it.
        images: Numbers of images that are a whole copy: one, or one for each release.
        per_class: Fewest and most images of a class, where that is published.
        classes: How many class folders a whole copy has.
        folders: Names its folder goes by, the usual one first.
        source: Where it comes from.
    """

    name: str
    title: str
    images: tuple[int, ...]
    per_class: tuple[int, int] | None
    classes: int
    folders: tuple[str, ...]
    source: str


def _v2(variant: str) -> PublishedSet:
    usual = f"imagenetv2-{variant}"
    folders = (f"{usual}-format-val", usual, f"imagenet-v2/{usual}-format-val", f"imagenetv2/{usual}-format-val")
    nested = (f"imagenet-v2/{variant}", f"imagenetv2/{variant}")
    source = f"ImageNet-V2, {variant} (Recht et al. 2019, arXiv 1902.10811)"
    return PublishedSet("v2", f"ImageNet-V2 {variant}", (10_000,), (10, 10), 1000, (*folders, *nested), source)


_ILSVRC: Final = "ImageNet, ILSVRC 2012 {} images (Russakovsky et al. 2015, arXiv 1409.0575)"
_ALL: Final = (
    PublishedSet("train", "ImageNet train", (1_281_167,), (732, 1300), 1000, ("train",), _ILSVRC.format("training")),
    PublishedSet(
        "val", "ImageNet val", (50_000,), (50, 50), 1000, ("val", "validation"), _ILSVRC.format("validation")
    ),
    PublishedSet(
        "r", "ImageNet-R", (30_000,), None, 200, ("imagenet-r", "imagenet_r"),
        "ImageNet-R (Hendrycks et al. 2021, arXiv 2006.16241)",
    ),
    PublishedSet(
        "sketch", "ImageNet-Sketch", (50_889,), None, 1000,
        ("sketch", "imagenet-sketch", "ImageNet-Sketch", "imagenet_sketch"),
        "ImageNet-Sketch (Wang et al. 2019, arXiv 1905.13549)",
    ),
    PublishedSet(
        "objectnet", "ObjectNet", (18_574, 18_514), None, 113,
        ("objectnet-1.0/images", "objectnet-1.0", "objectnet/images", "objectnet", "objectnet-1.0-beta/images",
         "objectnet-1.0-beta"),
        "ObjectNet (Barbu et al. 2019); a test set: its licence forbids training and tuning on it",
    ),
    PublishedSet(
        "a", "ImageNet-A", (7_500,), None, 200, ("imagenet-a", "imagenet_a"),
        "ImageNet-A (Hendrycks et al. 2021, arXiv 1907.07174)",
    ),
)  # fmt: skip
#: Every set by its name; V2 is a set for each variant, see `published`.
SETS: Final = ("train", "val", *SHIFT_NAMES)


def published(name: str, v2: str = "matched-frequency") -> PublishedSet:
    """A set by its short name.

    Args:
        name: `train`, `val`, `v2`, `r`, `sketch`, `objectnet` or `a`.
        v2: Which variant of ImageNet-V2.

    Raises:
        ValueError: If there is no set or variant of that name.

    Example:
        >>> published("r").images, published("v2", "top-images").folders[0]
        ((30000,), 'imagenetv2-top-images-format-val')
    """
    if v2 not in V2_VARIANTS:
        raise ValueError(f"ImageNet-V2 has no variant {v2!r}; it has {', '.join(V2_VARIANTS)}")
    if name == "v2":
        return _v2(v2)
    for one in _ALL:
        if one.name == name:
            return one
    raise ValueError(f"no set {name!r}; there are {', '.join(SETS)}")
