"""Plain images by a short text: the scenes world, a folder, a table; in fixed order, without labels."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, Final

from torch import Tensor
from torch.utils.data import Dataset

from lightning_robust.data.concept_sets.concept_set import Transform
from lightning_robust.data.concept_sets.scenes import ScenePictures
from lightning_robust.data.hub_tables import TableImages, image_column, open_table, short_name, with_split
from lightning_robust.data.labelled.folders import IMAGE_SUFFIXES, images_below, warn_of_other_endings
from lightning_robust.data.reading import MAX_UNREADABLE, ImageFiles, ImageSource, TolerantLoader
from lightning_robust.data.scenes.distributions import REFERENCE, WORLD_VERSION

__all__ = ["IMAGE_SPECS", "ImageSet", "image_loader", "open_images"]

#: What `open_images` understands, with what each is.
IMAGE_SPECS: Final = {
    "scenes": "test images of the scenes world's reference, no download",
    "FOLDER": "every image in a folder and the folders in it",
    "parquet:FILE[:SPLIT]": "the image column of a parquet file or folder",
    "hub:ID[:SPLIT]": "the same from the Hugging Face Hub",
}


class ImageSet(Dataset[Tensor]):
    """Images alone; `set[i]` is `transform(image)`.

    Args:
        name: Short name, for tags, tables and file names.
        source: What it was read from and how, for the record of a result.
        images: Where the images come from.
        transform: From a PIL image (RGB) to a tensor `(3, H, W)`.

    Raises:
        ValueError: If there are no images.
    """

    def __init__(self, name: str, source: str, images: ImageSource, transform: Transform) -> None:
        if not len(images):
            raise ValueError(f"There are no images in {source}")
        self.name, self.source, self.images, self.transform = name, source, images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of a set of {len(self)}")  # ends a plain for loop
        return self.transform(self.images.open(index % len(self)))


def image_loader(
    dataset: ImageSet, batch_size: int = 64, num_workers: int = 0, *, max_unreadable: int = MAX_UNREADABLE
) -> TolerantLoader:
    """Batches of images `(n, 3, H, W)` in the order of the set, the same in every pass.

    An image that cannot be read is left out with a warning that names it.

    Args:
        dataset: The images.
        batch_size: Images in a batch.
        num_workers: Worker processes.
        max_unreadable: How many images may be unreadable in one pass.

    Returns:
        The loader; its `unreadable` lists what the last pass left out.

    Raises:
        ValueError: If a number is out of range; while iterating, if more images than allowed cannot be read or they
            differ in size.

    Example:
        >>> from torchvision.transforms.functional import pil_to_tensor
        >>> [tuple(batch.shape) for batch in image_loader(open_images("scenes", pil_to_tensor, n=3), batch_size=2)]
        [(2, 3, 32, 32), (1, 3, 32, 32)]
    """
    return TolerantLoader(dataset, batch_size, num_workers=num_workers, max_unreadable=max_unreadable)


def open_images(
    spec: str, transform: Transform, *, n: int | None = None, seed: int | None = None, download: bool = False
) -> ImageSet:
    """Images by a short text.

    Args:
        spec: `scenes`, a folder (searched with all folders in it, files in the order of their paths),
            `parquet:FILE[:SPLIT]` or `hub:ID[:SPLIT]`.
        transform: From a PIL image to a tensor; the encoder's own.
        n: How many images, evenly spaced, since folders and tables are often sorted by class; None takes all (of the
            scenes, which are in no order, the first n, and 2,000 for None).
        seed: Seed of the scenes world, 0 unless given.
        download: Whether a data set of the Hub that is not on this machine may be fetched.

    Returns:
        The images.

    Raises:
        ValueError: If there is nothing of that name, no image in it, n is below 1, or a seed is given for other images
            than scenes.
    """
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if spec == "scenes":
        pictures = ScenePictures(REFERENCE, seed or 0, n or 2000)
        source = f"scenes world, version {WORLD_VERSION}, reference test images, seed {seed or 0}"
        return ImageSet("scenes", source, pictures, transform)
    if seed is not None:
        raise ValueError(f"a seed is for the images 'scenes' alone, got {seed} with {spec!r}")
    kind, colon, rest = spec.partition(":")
    if kind in ("parquet", "hub") and colon and not Path(spec).exists():
        return _table_images(rest, transform, n, download=download)
    return _folder_images(spec, transform, n)


def spread(total: int, n: int | None) -> list[int]:
    """Evenly spaced places among `total`, the first one included; all where n is None or more than there are.

    Example:
        >>> spread(10, 4), spread(3, 5)
        ([0, 2, 5, 7], [0, 1, 2])
    """
    count = total if n is None else min(n, total)
    return [k * total // count for k in range(count)] if count else []


def _table_images(text: str, transform: Transform, n: int | None, *, download: bool) -> ImageSet:
    path, split = with_split(text)
    table: Any = open_table(path, split, download=download)
    try:
        some = table if n is None else table.select(spread(len(table), n))
        images = TableImages(some, image_column(table), path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return ImageSet(short_name(path), f"{path}, split {split or table.split}", images, transform)


def _digest(folder: Path, files: list[Path]) -> str:
    """Tells folders of one name apart: eight digits of a hash over paths and sizes."""
    listed = "\n".join(f"{file.relative_to(folder)} {file.stat().st_size}" for file in files)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _folder_images(spec: str, transform: Transform, n: int | None) -> ImageSet:
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        raise ValueError(f"No images {spec!r}: there is no such folder; what works: {', '.join(IMAGE_SPECS)}")
    others: Counter[str] = Counter()
    files = sorted(path for path in map(Path, images_below(folder, others)) if path.is_file())
    warn_of_other_endings(folder, others)
    if not files:
        raise ValueError(
            f"No images in the folder {folder} or in those in it; endings that count: {', '.join(IMAGE_SUFFIXES)}"
        )
    chosen = [files[k] for k in spread(len(files), n)]
    some = "" if len(chosen) == len(files) else f", {len(chosen)} evenly spaced"
    source = f"the folder {folder.resolve().name} ({len(files)} files{some}; {_digest(folder, chosen)})"
    return ImageSet(folder.resolve().name, source, ImageFiles(chosen), transform)
