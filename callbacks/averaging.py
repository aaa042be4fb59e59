"""Averaged weights: Lightning's `WeightAveraging` validates them, so that is what monitors measure, everywhere."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import WeightAveraging

from lightning_robust.errors import UserError


@contextmanager
def averaged_weights(trainer: Trainer, module: Any) -> Iterator[None]:
    """Inside, the module has its averaged weights, as in a validation; those of training after, also when it raises.

    Not to be used inside a validation, where they are in place already. Without a `WeightAveraging` nothing happens.

    Args:
        trainer: The Trainer.
        module: Its LightningModule.
    """
    with ExitStack() as stack:
        for callback in (c for c in getattr(trainer, "callbacks", []) if isinstance(c, WeightAveraging)):
            callback.on_validation_epoch_start(trainer, module)
            stack.callback(callback.on_validation_epoch_end, trainer, module)
        yield


def check_averaging_first(trainer: Trainer, callback: Callback, why: str) -> None:
    """Check that the Trainer's `WeightAveraging`, if there is one, comes before a callback.

    Args:
        trainer: The Trainer.
        callback: One of its callbacks.
        why: What would go wrong, for the error.

    Raises:
        UserError: If it comes later.
    """
    callbacks = list(getattr(trainer, "callbacks", []))
    later = callbacks[callbacks.index(callback) :] if callback in callbacks else []
    found = next((c for c in later if isinstance(c, WeightAveraging)), None)
    if found is not None:
        raise UserError(
            f"put {type(found).__name__} before {type(callback).__name__} in the Trainer's callbacks: {why}"
        )
