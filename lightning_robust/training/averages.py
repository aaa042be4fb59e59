"""Lightning's `WeightAveraging` with modules whose model is built in `setup`."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging


def copy_into_averages(trainer: Trainer, module: LightningModule) -> None:
    """Let every `WeightAveraging` of the Trainer copy the module as it is now.

    The callback copies the module in its `setup`, which comes before the module's own: where the model is built there,
    it would average nothing, without a word. The module goes to the strategy's device first, where it would go next:
    the average lives there too, unless the callback was given a device.

    Args:
        trainer: The Trainer, before training starts and before a checkpoint is loaded.
        module: Its module, with its model.
    """
    for callback in getattr(trainer, "callbacks", []):
        if isinstance(callback, WeightAveraging):
            module.to(trainer.strategy.root_device)
            callback.setup(trainer, module, "fit")
