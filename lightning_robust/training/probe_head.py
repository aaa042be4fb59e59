"""The head of a linear probe on a run's training images: features of the frozen encoder, then the fit."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.modes import eval_mode, kept_random_state
from lightning_robust.training.linear_probe import fit_linear_probe
from lightning_robust.training.random_head import HEAD_SCALE


def probe_head(
    trainer: Trainer, module: LightningModule, classifier: ImageClassifier, classes: int, l2: float
) -> Tensor:
    """Fit a linear probe to a classifier's encoder, on the data module's training images.

    The probe V reads `s · h/‖h‖`, with s the model's logit scale, and the head is `W = s · V`, so that the classifier,
    which reads `h/‖h‖`, gives the probe's logits. The images come from the data module's `probe_dataloader()` where it
    has one: training images without augmentation, each on one process. Otherwise they are the first epoch of
    `train_dataloader()`, augmented as in training. Each process computes the features of its own images, in the
    Trainer's precision; loss and gradient are summed over processes, so that all have the same head. Random states
    and modes are given back.

    Args:
        trainer: The Trainer, once the model is on its device.
        module: Its LightningModule.
        classifier: Encoder and a head that is not read.
        classes: Number of classes.
        l2: See `fit_linear_probe`.

    Returns:
        W, `(C, d)`, in the dtype and on the device of the classifier's head.

    Raises:
        ValueError: If the Trainer has no data module, or its images do not fit the classes.
    """
    scale = logit_scale(classifier.encoder)
    features, targets = _features(trainer, module, classifier)

    def reduce(tensor: Tensor) -> Tensor:
        total: Tensor = trainer.strategy.reduce(tensor, reduce_op="sum")
        return total

    V = fit_linear_probe(scale * features, targets, classes, l2=l2, reduce=reduce)
    # the same bits everywhere, whatever the processes' hardware made of them
    head: Tensor = trainer.strategy.broadcast(scale * V)
    return head.to(classifier.head.weight)


def logit_scale(encoder: Any) -> float:
    """The factor on cosines that belongs to an encoder: `exp(logit_scale)`, and 1/0.07 where it has none.

    Args:
        encoder: A CLIP or an image tower.
    """
    known = getattr(encoder, "logit_scale", None)
    return HEAD_SCALE if known is None else math.exp(float(known))


def _features(trainer: Trainer, module: LightningModule, classifier: ImageClassifier) -> tuple[Tensor, Tensor]:
    """Unit-length features `(n, d)`, float32, and targets `(n,)` of this process's images, on the model's device."""
    features, targets = [], []
    with torch.no_grad(), eval_mode(classifier), kept_random_state():
        loader = _loader(trainer)
        # the place in the data is saved with checkpoints
        place = loader.state_dict() if hasattr(loader, "state_dict") else None
        for batch in loader:
            images, true = trainer.strategy.batch_to_device(batch, module.device)[:2]
            with trainer.precision_plugin.forward_context() or nullcontext():
                h = classifier.normalize(classifier.encode(trainer.precision_plugin.convert_input(images)))
            features.append(h.float())
            targets.append(true)
        if place is not None:
            loader.load_state_dict(place)
    if not features:
        raise ValueError("The training loader has no batches, so there is no linear probe.")
    return torch.cat(features), torch.cat(targets)


def _loader(trainer: Trainer) -> Any:
    datamodule: Any = getattr(trainer, "datamodule", None)
    if datamodule is None:
        raise ValueError(
            "head='linear-probe' fits the head on the data module's training images: give trainer.fit a data module."
        )
    own = getattr(datamodule, "probe_dataloader", None)
    return own() if own is not None else datamodule.train_dataloader()
