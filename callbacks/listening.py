"""What a monitor does in a validation that runs anyway: listen to the batches of the reference."""

from contextlib import ExitStack
from typing import Any

from lightning_robust.callbacks.collector import Collector
from lightning_robust.callbacks.passes import FindImages, count_images
from lightning_robust.models.modes import kept_random_state
from lightning_robust.signatures import every_hook_fires


class Listening:
    """Hooks that are placed for each batch of one validation and taken away after it.

    Args:
        collector: What they feed.
    """

    def __init__(self, collector: Collector) -> None:
        self.collector, self._stack = collector, ExitStack()

    def start(self, batch: Any, find_images: FindImages | None, number: int, *, switch: bool | None) -> None:
        """Place the hooks for a batch.

        Args:
            batch: The batch.
            find_images: Finds its images; see `SignatureMonitor`.
            number: Of the batch in its loader.
            switch: Whether the fused attention path may stay on while this one makes all hooks fire; None where
                another one does that: several would switch back in the order in which they switched.
        """
        with kept_random_state():
            self.collector.begin(batch, count_images(batch, find_images), number)
            if switch is not None:
                self._stack.enter_context(every_hook_fires(switch))
            self._stack.enter_context(self.collector.listening())

    def stop(self) -> None:
        """Take the hooks away and take in what was heard."""
        with kept_random_state():
            self._stack.close()
            self.collector.end()

    def break_off(self, exception: BaseException) -> None:
        """Take the hooks away after an error."""
        self._stack.__exit__(type(exception), exception, exception.__traceback__)
