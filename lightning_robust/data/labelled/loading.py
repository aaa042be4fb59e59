"""Loaders of labelled images that leave out, or replace, what cannot be read: named, counted, up to a limit."""

import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lightning_robust.data.collating import DifferentSizesError, Samples, collate
from lightning_robust.data.labelled.dataset import LabelledImages
from lightning_robust.data.loaders import Place, ResumableLoader, UnrepeatedSampler
from lightning_robust.data.reading import MAX_UNREADABLE, TolerantLoader, UnreadableImageError

__all__ = ["ReplacingLoader", "evaluation_loader", "training_loader"]


def evaluation_loader(
    dataset: LabelledImages, batch_size: int = 64, num_workers: int = 0, max_unreadable: int = MAX_UNREADABLE
) -> TolerantLoader:
    """Batches `(images (n, 3, H, W), targets (n,))` in the order of the set; every image on one process, once.

    An image that cannot be read is left out with a warning that names it.

    Args:
        dataset: The images.
        batch_size: Images in a batch.
        num_workers: Worker processes.
        max_unreadable: How many images may be unreadable in one pass, on each process of a distributed run.

    Returns:
        The loader; its `unreadable` lists what the last pass left out.

    Raises:
        ValueError: If a number is out of range, or there are fewer images than processes; while iterating, if more
            images than allowed cannot be read or they differ in size.
    """
    return TolerantLoader(
        dataset, batch_size, num_workers=num_workers, max_unreadable=max_unreadable, sampler=UnrepeatedSampler(dataset)
    )


def training_loader(
    dataset: LabelledImages, batch_size: int, *, seed: int, num_workers: int = 0, max_unreadable: int = MAX_UNREADABLE
) -> "ReplacingLoader":
    """Shuffled batches `(images (n, 3, H, W), targets (n,))` of a constant size, resumable.

    An image that cannot be read is replaced by another one of its class, drawn by (seed, epoch, index) alone, with a
    warning that names it once.

    Args:
        dataset: The images.
        batch_size: Images in a batch, on each process.
        seed: Seed of the order and of replacements.
        num_workers: Worker processes.
        max_unreadable: How many different images may be unreadable, over all workers and epochs, on each process.

    Returns:
        The loader; its `unreadable` lists what was replaced so far.

    Raises:
        ValueError: If a number is out of range or the images do not fill a batch; while iterating, if more images
            than allowed cannot be read, no image of a class can, or they differ in size.
    """
    return ReplacingLoader(
        _Replacing(dataset, seed, max_unreadable), batch_size, seed=seed, num_workers=num_workers,
        max_unreadable=max_unreadable,
    )  # fmt: skip


class ReplacingLoader(ResumableLoader):
    """A `ResumableLoader` in which an unreadable image is replaced by another one.

    Args:
        dataset: Gives, for a `Place`, a sample and a sentence for each image that could not be read on the way to it;
            in place of the sample a sentence, where there is none.
        batch_size: Images in a batch, on each process.
        seed: Seed of the order.
        num_workers: Worker processes.
        max_unreadable: How many different images may be unreadable.
        by: What an image is replaced by, for the warning.
        **options: Of `ResumableLoader`.

    Attributes:
        unreadable: What was replaced so far, a sentence for each image.

    Raises:
        ValueError: See `training_loader`.
    """

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, *, seed: int, num_workers: int, max_unreadable: int,
        by: str = "another of its class", **options: Any,
    ) -> None:  # fmt: skip
        if batch_size < 1 or num_workers < 0 or max_unreadable < 0:
            raise ValueError(
                "batch_size must be at least 1, num_workers and max_unreadable at least 0; "
                f"got {batch_size}, {num_workers} and {max_unreadable}"
            )
        super().__init__(
            dataset, batch_size=batch_size, seed=seed, num_workers=num_workers, collate_fn=_collate, **options
        )
        self.max_unreadable, self.by, self.unreadable = max_unreadable, by, list[str]()

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch, unreadable in super().__iter__():
            for sentence in unreadable:
                self._count(sentence)
            if isinstance(batch, str):
                raise ValueError(batch)
            yield batch

    def _count(self, sentence: str) -> None:
        if sentence in self.unreadable:  # it was met in an earlier epoch
            return
        self.unreadable.append(sentence)
        count = len(self.unreadable)
        if count > self.max_unreadable:
            raise ValueError(
                f"More than {self.max_unreadable} training images cannot be read, the first of them "
                f"{self.unreadable[0]}; the copy seems damaged (max_unreadable raises the limit)"
            )
        warnings.warn(
            f"A training image is replaced by {self.by}, {count} of at most {self.max_unreadable}: {sentence}",
            stacklevel=3,
        )


class _Replacing(Dataset[Any]):
    """Samples with the sentences of what could not be read on the way to them; a sentence alone where none could."""

    def __init__(self, dataset: LabelledImages, seed: int, limit: int) -> None:
        self.dataset, self.seed, self.limit = dataset, seed, limit

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Place) -> tuple[Any, list[str]]:
        try:
            return self.dataset[place], []
        except UnreadableImageError as error:
            return self._other(place, str(error))

    def __getitems__(self, places: Sequence[Place]) -> Samples:
        return Samples(self, places)

    def _other(self, place: Place, sentence: str) -> tuple[Any, list[str]]:
        targets, unreadable = self.dataset.targets, [sentence]
        others = np.flatnonzero(targets == targets[place.item])
        others = others[others != place.item]
        for other in np.random.Generator(np.random.PCG64([self.seed, place.epoch, place.item, 1])).permutation(others):
            if len(unreadable) > self.limit:
                break  # the loader stops at this count
            try:
                return self.dataset[Place(int(other), place.epoch)], unreadable
            except UnreadableImageError as error:
                unreadable.append(str(error))
        return f"No other training image of the class can be read in place of {sentence}", unreadable


def _collate(samples: Collection[tuple[Any, list[str]]]) -> tuple[Any, list[str]]:
    """A batch, or a sentence why there is none; and what was replaced in it."""
    unreadable: list[str] = []
    hopeless: list[str] = []

    def images() -> Iterator[Any]:
        for sample, sentences in samples:
            unreadable.extend(sentences)
            if isinstance(sample, str):
                hopeless.append(sample)
            elif not hopeless:
                yield sample

    try:
        batch = collate(images(), len(samples))
    except DifferentSizesError as error:
        batch = str(error)
    return (hopeless[0] if hopeless else batch), unreadable
