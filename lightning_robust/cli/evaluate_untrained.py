"""Random weights in an evaluation: batch norms get the statistics of the reference's images before any is answered."""

from typing import Any, Final

from lightning_robust.callbacks.sources import whole_loader
from lightning_robust.cli.evaluate_models import LoadedModels
from lightning_robust.cli.processes import Processes
from lightning_robust.errors import from_user
from lightning_robust.models.batch_norm import batch_norms
from lightning_robust.models.untrained import calibrate_untrained

__all__ = ["calibrate_loaded"]

_STATISTICS: Final = ("running_mean", "running_var")


def calibrate_loaded(loaded: LoadedModels, data: Any, split: str, here: Processes, device: Any) -> None:
    """Calibrate the batch norms of random weights (`models.calibrate_untrained`); other models are left alone.

    Every process reads the same images in the data module's own batches, whatever `--batch_size` says, so that the
    answers do not depend on how they are shared.

    Args:
        loaded: The models, before their pass.
        data: The data module, with their transform.
        split: `"test"` or `"val"`.
        here: This process among its fellows.
        device: Where to run.

    Raises:
        UserError: If the images cannot give statistics.
    """
    layers = list(batch_norms(loaded.module).values()) if loaded.untrained else []
    if not layers:
        return
    loaded.place(device)
    loaders = data.test_dataloader() if split == "test" else data.val_dataloader()
    reference = whole_loader(loaders[0] if isinstance(loaders, list | tuple) else loaders)
    with from_user(ValueError):
        calibrate_untrained(loaded.module, (batch[0] for batch in reference))
    own = [getattr(layer, name).cpu() for layer in layers for name in _STATISTICS]
    agreed = iter(here.agree(own))  # the last digits of a GPU need not be those of another
    for layer in layers:
        for name in _STATISTICS:
            getattr(layer, name).copy_(next(agreed))
