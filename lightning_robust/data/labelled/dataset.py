"""Labelled images as a torch data set: `(tensor, target)`, augmented by (seed, epoch, index) alone."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lightning_robust.data.labelled.pixels import Transform, fused
from lightning_robust.data.labelled.source import LabelledSource
from lightning_robust.data.loaders import Place
from lightning_robust.data.reading import UnreadableImageError

__all__ = ["Augmentation", "LabelledImages", "Transform"]

#: From a PIL image and a generator to a tensor, in place of the transform.
Augmentation = Callable[[Image.Image, np.random.Generator], Tensor]


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """`(transform(image), target)`.

    Args:
        source: The images and their classes.
        transform: From a PIL image (RGB) to a tensor `(3, H, W)`; preprocessing comes from the model.
            Its last steps are done in a faster way with the same bits where they are known, see `fused`.
        label_map: Target of each class of the source, −1 for classes whose images are left out; None: the class itself.
        border: Pixels cut off on every side before the transform (ObjectNet has a red border of 2).
        augment: What a training image goes through instead of the transform, given a generator that is a function of
            (seed, epoch, index); see `training_transform`.
        seed: Seed of the augmentation.

    Attributes:
        targets: Target of each image that is kept, `(n,)` int64.
        left_out: Images whose class has no target.

    Raises:
        ValueError: If `label_map` has not one target for each class, no image is left, or the border is negative.

    Example:
        >>> from lightning_robust.data.labelled import class_folders
        >>> import tempfile, pathlib, torchvision
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     Image.new("RGB", (8, 8)).save(root / name / "a.png")
        >>> images = LabelledImages(class_folders(root), torchvision.transforms.ToTensor(), label_map=[-1, 5], border=2)
        >>> len(images), tuple(images[0][0].shape), images[0][1], images.left_out
        (1, (3, 4, 4), 5, 1)
    """

    def __init__(
        self,
        source: LabelledSource,
        transform: Transform,
        label_map: Sequence[int] | NDArray[np.int64] | None = None,
        border: int = 0,
        augment: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        if border < 0:
            raise ValueError(f"border must be 0 or more pixels, got {border}")
        targets = source.labels
        kept = source
        if label_map is not None:
            table = np.asarray(label_map, dtype=np.int64)
            if table.shape != (len(source.class_names),):
                raise ValueError(f"{len(source.class_names)} classes need as many targets, got {table.shape}")
            targets = table[source.labels]
            if (targets < 0).any():
                has_target = np.flatnonzero(targets >= 0)
                if not len(has_target):
                    raise ValueError(f"No image of {source.source} has a class with a target")
                kept, targets = source.choose(has_target), targets[has_target]
        self.source, self.targets, self.left_out = kept, targets, len(source) - len(kept)
        self.transform, self.border, self.augment, self.seed = transform, border, augment, seed

    @property
    def transform(self) -> Transform:
        """The preprocessing, as it was given."""
        return self._transform

    @transform.setter
    def transform(self, transform: Transform) -> None:
        self._transform, self._fused = transform, fused(transform)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int | Place) -> tuple[Tensor, int]:
        index, epoch = (place.item, place.epoch) if isinstance(place, Place) else (place, 0)
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a set of {len(self)}")  # ends a plain for loop
        index %= len(self)
        image = self.source.images.open(index)
        if self.border:
            image = _without_border(image, self.border, f"image {index} of {self.source.name}")
        return self._tensor(image, index, epoch), int(self.targets[index])

    def _tensor(self, image: Image.Image, index: int, epoch: int) -> Tensor:
        if self.augment is None:
            return self._fused(image)
        return self.augment(image, np.random.Generator(np.random.PCG64([self.seed, epoch, index])))


def _without_border(image: Image.Image, border: int, where: str) -> Image.Image:
    width, height = image.size
    if min(width, height) <= 2 * border:
        raise UnreadableImageError(f"{where}: {width} × {height} pixels have nothing inside a border of {border}")
    return image.crop((border, border, width - border, height - border))
