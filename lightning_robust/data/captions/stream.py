"""A stream of image–caption pairs that is read forward only, and still gives every rank and worker its own pairs."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lightning_robust.data.captions.columns import caption_columns, in_lines
from lightning_robust.data.captions.dataset import finished_pair
from lightning_robust.data.captions.texts import as_captions
from lightning_robust.data.hub_tables import image_column, open_table, with_split
from lightning_robust.data.labelled.dataset import Augmentation
from lightning_robust.data.labelled.pixels import Transform, fused
from lightning_robust.data.loaders import Place
from lightning_robust.data.reading import ImageFiles, reason, to_rgb

__all__ = ["PairStream", "StreamedPairs", "open_stream"]

_AT_ONCE = 32
_SHOWN = 60


class PairStream:
    """Image–caption pairs in an order that is a function of (seed, epoch), none of them decoded.

    Args:
        table: A `datasets.IterableDataset` with the image column, not decoded, and the caption columns; shuffled.
        image: The image column.
        lines: Whether each line of a text is a caption of its own.
        length: Pairs in an epoch.
        name: What to call it in a complaint.
        source: What it is read from, for the record of a result.
    """

    def __init__(self, table: Any, image: str, *, lines: bool, length: int, name: str, source: str) -> None:
        self.table, self.image, self.lines, self.length = table, image, lines, length
        self.name, self.source = name, source

    def __len__(self) -> int:
        return self.length

    def rows(self, epoch: int) -> Iterator[dict[str, Any]]:
        """Every row from the first, in the order of an epoch."""
        self.table.set_epoch(epoch)
        # not its own iterator, which would leave out files of other workers
        for part in self.table.iter(_AT_ONCE):
            for values in zip(*part.values(), strict=True):
                yield dict(zip(part, values, strict=True))

    def named(self, row: dict[str, Any]) -> str:
        """What to call a row in a complaint: the same in every epoch, whatever its place there."""
        value = row[self.image]
        path, encoded = _parts(value)
        shown = path or (hashlib.sha256(encoded).hexdigest()[:8] if encoded else "none")
        text = next((str(value)[:_SHOWN] for column, value in row.items() if column != self.image and value), "")
        return f"image {shown} with the caption {text!r} of {self.name}"

    def decoded(self, row: dict[str, Any]) -> tuple[Image.Image, tuple[str, ...]]:
        """Image in RGB and captions of a row.

        Raises:
            ValueError: If there is no caption, or the image is missing or damaged (then other errors too).
        """
        captions = tuple(
            text
            for column, value in row.items()
            if column != self.image
            for text in as_captions(value, lines=self.lines)
        )
        if not captions:
            raise ValueError("there is no caption")
        return _image(row[self.image]), captions


class StreamedPairs(Dataset[Any]):
    """Samples of a stream for a `ReplacingLoader`, asked for by ascending `Place`s.

    Every process reads the whole stream and decodes the places it is asked for alone. So the pairs of an epoch, their
    order and their batches are the same for any number of ranks, workers and files, nothing has to be agreed on, and a
    run resumes at any place; the price is that each worker of each rank fetches everything. A pair that cannot be read
    is replaced by the next one of its batch: the stream cannot go back.

    Args:
        stream: The stream.
        transform: From a PIL image (RGB) to a tensor `(3, H, W)`.
        augment: What an image goes through instead; see `training_transform`.
        seed: Seed of augmentation, and of the draw among several captions of an image.
    """

    def __init__(
        self, stream: PairStream, transform: Transform, augment: Augmentation | None = None, seed: int = 0
    ) -> None:
        self.stream, self.transform, self.augment, self.seed = stream, fused(transform), augment, seed
        self._rows: Iterator[dict[str, Any]] | None = None
        self._epoch, self._next = -1, 0

    def __len__(self) -> int:
        return len(self.stream)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None, "_epoch": -1, "_next": 0}  # a worker begins for itself

    def __getitems__(self, places: Sequence[Place]) -> list[tuple[Any, list[str]]]:
        """The samples of a batch, each with a sentence if it could not be read and another stands in its place."""
        samples: list[tuple[Tensor, str] | None] = []
        told: list[list[str]] = []
        for place in places:
            try:
                row = self._row(place)
            except Exception as error:  # files, network and formats have errors of their own
                return [(self._broken(place, error), [])]
            try:
                image, captions = self.stream.decoded(row)
            except Exception as error:  # a damaged image raises a dozen kinds of error, and each means the same
                samples.append(None)
                told.append([f"{self.stream.named(row)}: {reason(error)}"])
                continue
            samples.append(
                finished_pair(image, captions, place, transform=self.transform, augment=self.augment, seed=self.seed)
            )
            told.append([])
        return list(zip(_filled(samples, told), told, strict=True))

    def _row(self, place: Place) -> dict[str, Any]:
        """Read forward to a place, or from the start where it lies behind."""
        if self._rows is None or place.epoch != self._epoch or place.item < self._next:
            self._rows, self._epoch, self._next = self.stream.rows(place.epoch), place.epoch, 0
        row = next(islice(self._rows, place.item - self._next, None), None)
        if row is None:
            raise ValueError("it has no more pairs")
        self._next = place.item + 1
        return row

    def _broken(self, place: Place, error: Exception) -> str:
        self._rows = None
        return (
            f"{self.stream.name} could not be read as far as pair {place.item}, and n_train asks for {len(self):,} in "
            f"an epoch ({reason(error)})"
        )


def _parts(value: Any) -> tuple[str | None, bytes | None]:
    """Path and encoded bytes of an image that is not decoded, each where there is one."""
    path, encoded = (value.get("path"), value.get("bytes")) if isinstance(value, dict) else (value, value)
    return path if isinstance(path, str) else None, encoded if isinstance(encoded, bytes) else None


def _image(value: Any) -> Image.Image:
    path, encoded = _parts(value)
    if encoded is not None:
        return to_rgb(Image.open(io.BytesIO(encoded)))
    if not path:
        raise ValueError("there is no image")
    if "://" not in path:
        return ImageFiles([path]).open(0)
    import datasets  # it opens what lies on the Hub, or within an archive there

    return to_rgb(datasets.Image().decode_example({"path": path, "bytes": None}))


def _filled(samples: list[tuple[Tensor, str] | None], told: list[list[str]]) -> list[tuple[Tensor, str] | str]:
    """The samples of a batch, with the next readable one in the place of one that could not be read."""
    n = len(samples)
    if all(sample is None for sample in samples):
        return [f"No pair of a batch can be read, the first of them {told[0][0]}"] * n
    return [next(found for j in range(n) if (found := samples[(k + j) % n]) is not None) for k in range(n)]


def open_stream(
    path: str, *, n_train: int | None = None, seed: int = 0, image: str | None = None, caption: str | None = None,
    lines: str | None = None, buffer: str = "1000", download: bool = False,
) -> PairStream:  # fmt: skip
    """A stream of pairs from the Hub, or from parquet files or tar shards of this machine.

    Args:
        path: An id of the Hub, parquet files or tar shards (a pattern in a file name), or a folder of them or of images
            with their captions in a `metadata.csv`; a split may stand behind a colon.
        n_train: Pairs in an epoch, which the number of steps follows from; None takes what the Hub says of the split.
        seed: Seed of the order: files are permuted, then pairs within a buffer, anew in every epoch.
        image: The image column; None finds it by its type.
        caption: The caption columns, with commas; None finds them, see `caption_columns`.
        lines: `split` or `keep`, see `in_lines`.
        buffer: So many pairs are held, not decoded, by each worker, and the next is drawn among them; 1 does not
            shuffle within a file.
        download: Whether it may be fetched.

    Raises:
        ValueError: If it cannot be opened, its columns are not of that form, an option is out of range, or its length
            is not known.
    """
    import datasets  # it takes a second, and other sources do without it

    if not buffer.isdecimal() or int(buffer) < 1:
        raise ValueError(f"buffer must be a number of pairs, 1 or more, got {buffer!r}")
    text, split = with_split(path)
    table = open_table(text, split, download=download, streaming=True)
    if table.features is None:
        raise ValueError(f"{text} does not say which columns it has before it is read; take 'hub:' or 'parquet:'")
    try:
        column = image_column(table, image)
        columns = caption_columns(table, caption)
        split_lines = in_lines(columns, lines)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    known = _known_length(table)
    if n_train is None and known is None:
        raise ValueError(
            f"How many pairs {text} has is not known before it is read; say how many make an epoch, n_train="
        )
    length = known if n_train is None else n_train
    if known is not None and length is not None and length > known:
        raise ValueError(f"n_train={length} pairs are more than the {known} of {text}")
    table = table.select_columns([column, *columns])
    if isinstance(table.features[column], datasets.Image):
        table = table.cast_column(column, datasets.Image(decode=False))
    table = table.shuffle(seed=seed, buffer_size=int(buffer))
    of = f"{length or 0:,} pairs an epoch, {column} and {', '.join(columns)}"
    source = f"{text}, split {table.split}, as a stream ({of})"
    return PairStream(table, column, lines=split_lines, length=length or 0, name=text, source=source)


def _known_length(table: Any) -> int | None:
    splits = table.info.splits or {}
    found = splits.get(str(table.split))
    return int(found.num_examples) if found is not None and found.num_examples else None
