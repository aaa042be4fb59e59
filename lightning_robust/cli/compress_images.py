"""The images that a compression is calibrated on: evenly spaced over those that may be used."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_robust.cli.evaluate_sets import OrderedLoader
from lightning_robust.data.image_sets import spread
from lightning_robust.data.reading import TolerantLoader
from lightning_robust.models.calibration import Calibration

__all__ = ["LEAST", "CalibrationImages", "few_images"]

LEAST = 2
"""Fewer images have no covariance."""


class CalibrationImages:
    """Batches of images alone; a data set that is sorted by class gives images of every class.

    Only the chosen images are read where the loader says how; others are read as far as the last one.

    Args:
        loader: The images that may be used.
        most: At most so many of them.
        seen: Called with numbers of images, for progress.
    """

    def __init__(self, loader: OrderedLoader, most: int, seen: Callable[[int], None] | None = None) -> None:
        self._chosen = spread(loader.share, most)
        self._batches, self._seen = loader.batches, seen
        if (some := _some(loader.batches, self._chosen)) is not None:
            self._batches, self._chosen = some, list(range(len(self._chosen)))

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What the last pass left out, a sentence for each image."""
        return tuple(getattr(self._batches, "unreadable", ()))

    def __iter__(self) -> Iterator[Tensor]:
        passed, chosen = 0, set(self._chosen)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "An image is left out")  # the record names each
            for images, *_ in self._batches:
                mine = [row for row in range(len(images)) if passed + row in chosen]
                passed += len(images)
                if mine:
                    yield images[mine]
                    if self._seen is not None:
                        self._seen(len(mine))
                if passed > max(chosen, default=-1):
                    return


def few_images(calibration: Calibration) -> tuple[str, ...]:
    """A sentence where covariances are of more numbers than there are rows to estimate them from; else none.

    Args:
        calibration: What was seen.
    """
    short = {name: one for name, one in calibration.moments.items() if one.count < len(one.mean)}
    if not short:
        return ()
    name = max(short, key=lambda each: (len(short[each].mean), -short[each].count))
    rows, width = short[name].count, len(short[name].mean)
    return (
        f"calibration on {calibration.images} images gives {rows} rows at {name}, whose covariance is {width} wide, "
        f"and too few at {len(short)} of {len(calibration.moments)} matrices: directions that no image shows count as "
        "free, so accuracies may be far below what more calibration images give (--images, --calibration)",
    )


def _some(batches: Any, chosen: Sequence[int]) -> Any:
    """A loader of the images at these places alone; None where that is not known to be possible."""
    loader = getattr(batches, "loader", batches)  # with the places of its images, or without
    if type(loader) not in (DataLoader, TolerantLoader) or loader.batch_size is None:
        return None
    order = list(loader.sampler)
    places: Any = [order[k] for k in chosen]
    if isinstance(loader, TolerantLoader):
        tolerant: Any = loader.dataset
        return TolerantLoader(
            tolerant.dataset, loader.batch_size, num_workers=loader.num_workers,
            max_unreadable=loader.max_unreadable, sampler=places,
        )  # fmt: skip
    return DataLoader(
        loader.dataset, loader.batch_size, sampler=places, num_workers=loader.num_workers,
        collate_fn=loader.collate_fn, pin_memory=loader.pin_memory, generator=torch.Generator(),
    )  # fmt: skip
