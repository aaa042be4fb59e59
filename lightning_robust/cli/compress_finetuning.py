"""Finetuning after truncation: which images, and one Lightning fit for each network."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn

from lightning_robust.errors import UserError, from_user
from lightning_robust.models.modes import kept_random_state
from lightning_robust.training.compressed_finetuning import CompressedFinetuning

__all__ = ["Finetuning", "planned_finetuning"]

FREELY = 50_000
"""Training images up to which an epoch of finetuning is the default."""
_WARM_UP, _CLIP = 0.1, 1.0
_SAID = ("does not have many workers", "have no `val_dataloader`", "GPU available but not used")


@dataclass(frozen=True)
class Finetuning:
    """How networks are finetuned.

    Attributes:
        epochs: Epochs; 0 leaves it out.
        lr: Highest learning rate.
        batches: Of one epoch.
        images: Of one epoch.
        seed: Of dropout.
        device: Where.
        sentence: What a reader has to know: the recipe, or why it is left out.
    """

    epochs: int
    lr: float
    batches: int
    images: int
    seed: int
    device: Any
    sentence: str

    def run(
        self,
        network: nn.Module,
        data: Any,
        trained: Sequence[str],
        seen: Callable[[int], None] | None = None,
    ) -> nn.Module:
        """Train a network in place, head included, on the training images of the data.

        Args:
            network: From images to logits.
            data: The data module, with the transform of the network.
            trained: Names of the parameters that are trained.
            seen: Called with numbers of images, for progress.

        Returns:
            The network, in eval mode.

        Raises:
            UserError: If images cannot be read, or a batch cannot be trained on.
        """
        steps = self.epochs * self.batches
        module = CompressedFinetuning(
            network, data.class_names, trained, lr=self.lr, warmup_steps=max(1, round(_WARM_UP * steps))
        )
        with kept_random_state(), _quiet(), from_user(ValueError):
            torch.manual_seed(self.seed)
            trainer = Trainer(
                **_place(torch.device(self.device)),
                max_epochs=self.epochs,
                gradient_clip_val=_CLIP,
                limit_val_batches=0,
                num_sanity_val_steps=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[_Seen(seen)],
            )
            trainer.fit(module, train_dataloaders=data.train_dataloader())
        return network.to(self.device).eval()


def planned_finetuning(epochs: int | None, lr: float, data: Any, seed: int, device: Any) -> Finetuning:
    """Whether and how to finetune, before any image is read.

    Args:
        epochs: As asked for; None is one epoch where that is quick.
        lr: Highest learning rate.
        data: The data module, with the transform of the network.
        seed: Of dropout.
        device: Where.

    Raises:
        UserError: If epochs are asked for and there are no training images.
    """
    none = Finetuning(0, lr, 0, 0, seed, device, "finetuning after truncation was left out, as asked for")
    if epochs == 0:
        return none
    try:
        batches, images = _size(data)
    except (UserError, ValueError, OSError) as error:
        if epochs is not None:
            raise UserError(
                f"--finetune {epochs} needs training images of the data, and they cannot be had ({error}); "
                "--finetune 0 leaves finetuning out"
            ) from error
        return _left_out(none, f"the data give no training images ({error})")
    if epochs is None and images > FREELY:
        return _left_out(none, f"an epoch is {images:,} images; --finetune 1 asks for it")
    epochs = epochs or 1
    return Finetuning(epochs, lr, batches, images, seed, device, _recipe(epochs, lr, batches * epochs))


def _recipe(epochs: int, lr: float, steps: int) -> str:
    return (
        f"finetuning after truncation: image network and head, {epochs} epoch{'s' if epochs > 1 else ''} of the data's "
        f"training images ({steps:,} steps), cross-entropy, AdamW, learning rate {lr:g} after a warm-up over "
        f"{_WARM_UP:.0%} of the steps, cosine to 0, weight decay 0.1 on matrices, gradients clipped at {_CLIP:g}; the "
        "dense model is finetuned in the same way, for finetuning by itself changes robustness"
    )


def _left_out(none: Finetuning, reason: str) -> Finetuning:
    said = f"finetuning after truncation was left out: {reason}"
    return Finetuning(0, none.lr, 0, 0, none.seed, none.device, said)


def _size(data: Any) -> tuple[int, int]:
    if isinstance(data, LightningDataModule) and not is_overridden("train_dataloader", data, LightningDataModule):
        raise UserError(f"{type(data).__name__} has none")
    loader = data.train_dataloader()
    try:
        batches = len(loader)
        size = getattr(loader, "batch_size", None)
        images = len(loader.dataset) if hasattr(loader, "dataset") else batches * int(size or 1)
    except TypeError as error:
        raise UserError(f"its {type(loader).__name__} has no length, so that an epoch has no end") from error
    if not batches:
        raise UserError("they do not fill one batch")
    return batches, images


def _place(device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        return {"accelerator": "gpu", "devices": [device.index or 0]}
    return {"accelerator": device.type, "devices": 1}


class _Seen(Callback):
    """Tells how many images were trained on.

    Args:
        seen: Called with their number after each step.
    """

    def __init__(self, seen: Callable[[int], None] | None) -> None:
        self._seen = seen

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count."""
        del trainer, pl_module, outputs, batch_idx
        if self._seen is not None:
            self._seen(len(batch[0]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's words on devices, and its advice on workers and log intervals."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for said in _SAID:
                warnings.filterwarnings("ignore", f".*{said}")
            yield
    finally:
        logger.setLevel(before)
