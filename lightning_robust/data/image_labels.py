"""Classes of plain images, where their names are known to mean a head's classes."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from lightning_robust.data.concept_sets.scenes import ScenePictures
from lightning_robust.data.image_sets import ImageSet
from lightning_robust.data.reading import ImageFiles, TolerantLoader
from lightning_robust.data.scenes.vocabulary import CLASSES

__all__ = ["LabelledImages", "class_labels", "labelled_loader"]


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """Images with their classes; `set[i]` is `(transform(image), label)`.

    Args:
        images: The images.
        labels: A class for each.

    Raises:
        ValueError: If there are more or fewer labels than images.

    Example:
        >>> from torchvision.transforms.functional import pil_to_tensor
        >>> from lightning_robust.data.image_sets import open_images
        >>> LabelledImages(open_images("scenes", pil_to_tensor, n=2), [4, 7])[1][1]
        7
    """

    def __init__(self, images: ImageSet, labels: Sequence[int]) -> None:
        if len(labels) != len(images):
            raise ValueError(f"{len(images)} images need as many labels, not {len(labels)}")
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


def labelled_loader(images: ImageSet, labels: Sequence[int], batch_size: int = 64) -> TolerantLoader:
    """Batches `(images, labels (n,))` in the order of the set; what cannot be read is left out with its label.

    Args:
        images: The images.
        labels: A class for each.
        batch_size: Images in a batch.

    Raises:
        ValueError: If a number does not fit; while iterating, if too many images cannot be read.

    Example:
        >>> from torchvision.transforms.functional import pil_to_tensor
        >>> from lightning_robust.data.image_sets import open_images
        >>> [labels.tolist() for _, labels in labelled_loader(open_images("scenes", pil_to_tensor, n=3), [1, 2, 3], 2)]
        [[1, 2], [3]]
    """
    return TolerantLoader(LabelledImages(images, labels), batch_size)


def class_labels(images: ImageSet, class_names: Sequence[str]) -> list[int] | None:
    """The class of each image in the order of a head's classes, where that is certain.

    It is for the scenes world, and for folders of files each of which lies in a folder that is named as a class.

    Args:
        images: The images.
        class_names: What the head's classes are called, in its order.

    Returns:
        The labels; None if a name is none of the head's classes or stands for two of them, or nothing names classes.

    Example:
        >>> from torchvision.transforms.functional import pil_to_tensor
        >>> from lightning_robust.data.image_sets import open_images
        >>> scenes = open_images("scenes", pil_to_tensor, n=3)
        >>> class_labels(scenes, ["star", "heart"]) is None, len(class_labels(scenes, CLASSES))
        (True, 3)
    """
    names = _names(images)
    places = {name: place for place, name in enumerate(class_names)}
    if names is None or len(places) < len(class_names) or not set(names) <= set(places):
        return None
    return [places[name] for name in names]


def _names(images: ImageSet) -> list[str] | None:
    source = images.images
    if isinstance(source, ScenePictures):
        return [CLASSES[k] for k in source.classes]
    return [Path(path).parent.name for path in source.paths] if isinstance(source, ImageFiles) else None
