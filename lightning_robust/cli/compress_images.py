"""The images that a compression is calibrated on: evenly spaced over those that may be used."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from lightning_robust.cli.evaluate_sets import OrderedLoader
from lightning_robust.data.image_sets import spread

__all__ = ["CalibrationImages"]


class CalibrationImages:
    """Batches of images alone; a data set that is sorted by class gives images of every class.

    Args:
        loader: The images that may be used.
        most: At most so many of them.
        seen: Called with numbers of images, for progress.
    """

    def __init__(self, loader: OrderedLoader, most: int, seen: Callable[[int], None] | None = None) -> None:
        self._loader, self._seen = loader, seen
        self._chosen = set(spread(loader.share, most))

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What was left out, a sentence for each image."""
        return self._loader.unreadable

    def __iter__(self) -> Iterator[Tensor]:
        passed, last = 0, max(self._chosen, default=-1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "An image is left out")  # the record names each
            for images, *_ in self._loader.batches:
                mine = [row for row in range(len(images)) if passed + row in self._chosen]
                passed += len(images)
                if mine:
                    yield images[mine]
                    self._tell(len(mine))
                if passed > last:
                    return

    def _tell(self, count: Any) -> None:
        if self._seen is not None:
            self._seen(count)
