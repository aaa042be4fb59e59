"""Reading images one by one: a file that cannot be read is named, counted and left out, up to a limit."""

import os
import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_robust.data.collating import DifferentSizesError, Samples, collate

__all__ = ["MAX_UNREADABLE", "ImageFiles", "ImageSource", "TolerantLoader", "UnreadableImageError", "to_rgb"]

#: So many images may be unreadable before reading stops: more are a damaged copy, not bad luck.
MAX_UNREADABLE: Final = 20

_Sample = TypeVar("_Sample")
#: What undoes each orientation of EXIF.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_ORIENTATION: Final = 0x0112
#: Where formats other than TIFF keep an orientation.
_WITH_ORIENTATION: Final = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")


class UnreadableImageError(ValueError):
    """An image is missing or damaged; the message names it and says what went wrong.

    Example:
        >>> raise UnreadableImageError("cat.jpg: it is empty")
        Traceback (most recent call last):
        lightning_robust.data.reading.UnreadableImageError: cat.jpg: it is empty
    """


class ImageSource(Protocol):
    """Where the images of a set come from: `open(i)` gives image i, in RGB and wholly decoded."""

    def __len__(self) -> int:
        """The number of images."""

    def open(self, index: int) -> Image.Image:
        """Image `index`.

        Raises:
            UnreadableImageError: If it is missing or damaged.
        """


class ImageFiles:
    """Images that are files.

    Args:
        paths: The files, in order.

    Example:
        >>> len(ImageFiles(["a.jpg", "b.jpg"]))
        2
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.paths = [os.fspath(path) for path in paths]
        #: Whether images are turned as their EXIF orientation says.
        self.turned = True

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> Image.Image:
        """Image `index` in RGB.

        Raises:
            UnreadableImageError: If the file is missing or damaged.
        """
        path = self.paths[index]
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - a Path for each image costs as much as opening it
                return to_rgb(Image.open(file), turned=self.turned)
        except Exception as error:  # a damaged file raises a dozen kinds of error, and each means the same
            what = reason(error) if os.path.isfile(path) else "no such file"  # noqa: PTH113 - a Path has limits of its own
            raise UnreadableImageError(f"{path}: {what}") from error


def to_rgb(image: Image.Image, *, turned: bool = True) -> Image.Image:
    """An image in RGB, wholly decoded and turned as its EXIF orientation says; 16 bits of grey become 8.

    Args:
        image: Any image.
        turned: Whether it is turned.

    Raises:
        UnreadableImageError: If its pixels are 32-bit or floating-point numbers, whose range nothing tells.
    """
    image.load()
    if turned and (image.format in ("TIFF", "MPO") or any(key in image.info for key in _WITH_ORIENTATION)):
        image = _turned(image)
    if image.mode == "RGB":  # convert() would copy every pixel
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        grey = (np.asarray(image).astype(np.int64) * 255 + 32767) // 65535
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "32-bit" if image.mode == "I" else "floating-point"
        raise UnreadableImageError(f"its pixels are {kind} numbers of unknown range; save it with 8 or 16 bits")
    return image.convert("RGB")


def _turned(image: Image.Image) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF without saying in which image
            turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF raises many kinds of error, and says nothing against the pixels
        turn = None
    return image if turn is None else image.transpose(turn)


def reason(error: Exception) -> str:
    """What went wrong, in a few words without a path."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    lines = str(error).strip().splitlines()
    return lines[0][:100] if lines else type(error).__name__


class TolerantLoader(DataLoader[Any]):
    """A `DataLoader` in fixed order that leaves out what raises `UnreadableImageError`, with a warning for each.

    No random state is touched: iterating draws from a generator of its own. A batch may be smaller for what was left
    out, and `len` is the number of batches without such images.

    Args:
        dataset: Map-style data set of known length.
        batch_size: Samples in a batch.
        num_workers: Worker processes.
        max_unreadable: How many samples may be unreadable in one pass (of a distributed run: on each process).
        sampler: Which samples and in what order; None takes all of them as they stand.

    Attributes:
        unreadable: What the last pass left out, a sentence for each.

    Raises:
        ValueError: If `batch_size` is below 1; while iterating, if more than `max_unreadable` samples cannot be read,
            or the transform gives images of different sizes.
    """

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, *, num_workers: int = 0, max_unreadable: int = MAX_UNREADABLE,
        sampler: Sampler[Any] | None = None,
    ) -> None:  # fmt: skip
        if batch_size < 1 or num_workers < 0 or max_unreadable < 0:
            raise ValueError(
                "batch_size must be at least 1, num_workers and max_unreadable at least 0; "
                f"got {batch_size}, {num_workers} and {max_unreadable}"
            )
        # making an iterator draws a number even where nothing is shuffled
        super().__init__(
            _Tolerant(dataset), batch_size=batch_size, num_workers=num_workers, collate_fn=collate_readable,
            generator=torch.Generator(), sampler=sampler,
        )  # fmt: skip
        self.max_unreadable = max_unreadable
        self.unreadable: list[str] = []

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.unreadable = []
        for batch, unreadable in super().__iter__():
            for sentence in unreadable:
                self._leave_out(sentence)
            if isinstance(batch, str):
                raise ValueError(batch)
            if batch is not None:
                yield batch

    def _leave_out(self, sentence: str) -> None:
        self.unreadable.append(sentence)
        count = len(self.unreadable)
        if count > self.max_unreadable:
            raise ValueError(
                f"More than {self.max_unreadable} images cannot be read, the first of them {self.unreadable[0]}; the "
                "copy seems damaged or the folder wrong (max_unreadable raises the limit)"
            )
        warnings.warn(f"An image is left out, {count} of at most {self.max_unreadable}: {sentence}", stacklevel=3)


class _Tolerant(Dataset[Any]):
    """The data set with the exception as a value, which survives the way from a worker process as it is."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except UnreadableImageError as error:
            return error

    def __getitems__(self, indices: Sequence[Any]) -> Samples:
        return Samples(self, indices)


def collate_readable(samples: Collection[Any]) -> tuple[Any, list[str]]:
    """A batch (None when empty, a sentence when it cannot be made) and what was left out of it."""
    unreadable: list[str] = []

    def readable() -> Iterator[Any]:
        for sample in samples:
            if isinstance(sample, UnreadableImageError):
                unreadable.append(str(sample))
            else:
                yield sample

    try:
        return collate(readable(), len(samples)), unreadable
    except DifferentSizesError as error:
        return str(error), []
