"""Processes that wait for the first one as long as it takes: Lightning's own barrier gives up after half an hour."""

from datetime import timedelta
from typing import Any, Final

from lightning.pytorch import Trainer
from torch import distributed

LONGEST: Final = timedelta(days=365)


class Waiting:
    """A group of all processes for one long wait, over gloo on the CPUs, whatever the training runs on.

    A process that ends meanwhile closes its connections, and the wait ends with an error. Made before training, so that
    a machine without gloo is known before it.

    Args:
        trainer: The Trainer, once its processes have met; all of them make it at the same time.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._strategy, self._group = trainer.strategy, _group(trainer)

    def meet(self) -> None:
        """Wait until every process is here."""
        if self._group is None:
            self._strategy.barrier()
        else:
            distributed.barrier(group=self._group)


def _group(trainer: Trainer) -> Any:
    if trainer.world_size > 1 and distributed.is_available() and distributed.is_initialized():
        return distributed.new_group(backend="gloo", timeout=LONGEST)
    return None
