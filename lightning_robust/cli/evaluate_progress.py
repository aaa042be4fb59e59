"""Progress of a sweep on a terminal: models done, images of the pass, images in a second."""

import sys
from types import TracebackType
from typing import Any

__all__ = ["EvaluationProgress"]


class EvaluationProgress:
    """Two bars on stderr while it is a terminal, else nothing.

    Args:
        first: Whether this process prints.
        done: Models that were done before.
        total: All models.
    """

    def __init__(self, first: bool, done: int, total: int) -> None:
        self._bars: Any = None
        if not (first and sys.stderr.isatty() and done < total):
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),  # the end of a path
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._models = self._bars.add_task("models", total=total, completed=done, speed="")
        self._images = self._bars.add_task("images", total=None, speed="", visible=False)

    def __enter__(self) -> "EvaluationProgress":
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def images(self, name: str, total: int) -> None:
        """A pass begins.

        Args:
            name: What is evaluated.
            total: Images of the pass.
        """
        if self._bars is not None:
            self._bars.reset(self._images, total=total, description=name[-40:], visible=True, speed="")

    def seen(self, count: int) -> None:
        """So many images more.

        Args:
            count: Images.
        """
        if self._bars is not None:
            self._bars.advance(self._images, count)
            task = next(task for task in self._bars.tasks if task.id == self._images)
            self._bars.update(self._images, speed=f"{task.finished_speed or task.speed or 0:,.0f} images/s")

    def models(self, count: int) -> None:
        """So many models more.

        Args:
            count: Models.
        """
        if self._bars is not None:
            self._bars.advance(self._models, count)
