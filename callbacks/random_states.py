"""Keep every random state in the checkpoint, so that a resumed run draws what the unbroken one would have drawn."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class RandomStates(Callback):
    """Stores the random states of Python, numpy, torch and CUDA in each checkpoint and restores them on resuming.

    Lightning stores none. It also forgets the place of a resumable train loader (`data.ResumableLoader`) where
    `configure_optimizers` asks for `trainer.estimated_stepping_batches`, which makes the loaders before the checkpoint
    is read; the loader is given its place here. Only tensors and plain values are written, so the checkpoint loads with
    `weights_only=True`. Under several processes the states of the process that writes are kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The random states as they are now."""
        version, words, gauss = random.getstate()
        legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - the global state is what is stored
        state = legacy["state"]
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "python": [version, list(words), gauss],
            "numpy": [state["key"].tolist(), int(state["pos"]), int(legacy["has_gauss"]), float(legacy["gauss"])],
            "torch": torch.get_rng_state(),
            "cuda": cuda,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training goes on."""
        self._loaded = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore them last, after sanity checks have drawn what they want."""
        del pl_module
        if self._loaded is None:
            return
        go_on = getattr(trainer.fit_loop, "_load_combined_loader_states", None)
        if go_on is not None:  # it does nothing where Lightning has done it already
            go_on()
        self._restore(self._loaded)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore them for what is measured after a run that was broken off after its last step."""
        del trainer, pl_module
        if self._loaded is not None:
            self._restore(self._loaded)

    def _restore(self, states: dict[str, Any]) -> None:
        version, words, gauss = states["python"]
        random.setstate((version, tuple(words), gauss))
        key, position, has_gauss, value = states["numpy"]
        np.random.set_state(("MT19937", np.array(key, dtype=np.uint32), position, has_gauss, value))  # noqa: NPY002
        torch.set_rng_state(states["torch"].cpu())
        if states["cuda"]:
            torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
        self._loaded = None
