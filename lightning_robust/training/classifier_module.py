"""What the modules that train an image classifier have in common: one step, one evaluation, one optimiser."""
# ruff: noqa: ARG002 - Lightning reads the arguments of its hooks

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.training.freezing import freeze, rest_frozen_parts
from lightning_robust.training.loader_accuracy import LoaderAccuracy
from lightning_robust.training.lone_rows import batch_norm_of
from lightning_robust.training.optimisation import adamw_with_schedule, decay_groups


class ClassifierModule(LightningModule):
    """Trains `self.model` with cross-entropy and evaluates it on any number of loaders.

    A subclass builds the model, and saves the hyperparameters `lr`, `betas`, `weight_decay`, `warmup_steps` and
    `label_smoothing`. Batches are `(images, targets, …)`.
    """

    #: The layer whose output is h, for monitors.
    representation_layer = "model.encoder.visual"

    model: ImageClassifier
    class_names: list[str] | None = None
    _accuracy: LoaderAccuracy | None = None
    _rests: bool = False

    def known_classes(self) -> list[str]:
        """The classes, in the order of the labels.

        Raises:
            ValueError: If they are not known yet.
        """
        if self.class_names is None:
            raise ValueError("The classes are not known yet: fit, validate, or load a checkpoint first.")
        return self.class_names

    @property
    def start(self) -> str:
        """What training begins from, in words, once the classes are known; a run's record and table say it."""
        return "random weights"

    def head_weight(self) -> Tensor:
        """Weight W of the head as it is now, `(C, d)`; what monitors take directions from."""
        weight: Tensor = self.model.head.weight
        return weight.detach()

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits `(n, C)` of preprocessed images `(n, 3, H, W)`."""
        logits: Tensor = self.model(images)
        return logits

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        """Cross-entropy of a batch `(images, targets, …)`."""
        with batch_norm_of(len(batch[1])):
            logits = self(batch[0])
        loss = functional.cross_entropy(logits, batch[1], label_smoothing=float(self.hparams["label_smoothing"]))
        self.log("train/loss", loss, batch_size=len(batch[0]), prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start("val")

    def validation_step(self, batch: Sequence[Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Classify a batch of a validation loader."""
        self._evaluate(batch, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the accuracies."""
        self._log("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start("test")

    def test_step(self, batch: Sequence[Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Classify a batch of a test loader."""
        self._evaluate(batch, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Log the accuracies."""
        self._log("test")

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Give the logits `(n, C)` of a batch: images, or `(images, …)`."""
        logits: Tensor = self(batch if isinstance(batch, Tensor) else batch[0])
        return logits

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine over the whole run, on all that is not frozen."""
        optimizer, schedule = adamw_with_schedule(
            self.parameter_groups(),
            lr=self.hparams["lr"],
            betas=tuple(self.hparams["betas"]),
            warmup_steps=self.hparams["warmup_steps"],
            total_steps=self.trainer.estimated_stepping_batches,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser: matrices decay, vectors do not."""
        return decay_groups(self.model.parameters(), self.hparams["weight_decay"])

    def train(self, mode: bool = True) -> Self:
        """Set the mode; parts that are frozen by `freeze_parts` stay in eval mode."""
        super().train(mode)
        if mode and self._rests:
            rest_frozen_parts(self)
        return self

    def freeze_parts(self, patterns: Sequence[str]) -> None:
        """Freeze parameters by name; parts that are frozen whole are in eval mode while the rest trains.

        Args:
            patterns: Globs over names of parameters or modules, such as `model.encoder.visual.layer1`.

        Raises:
            ValueError: If a pattern names nothing, or nothing that would be trained.
        """
        freeze(self, patterns)
        self._rests = True

    def on_train_start(self) -> None:
        """Put frozen parts into eval mode: here, where Lightning has looked for parts that are in it by mistake."""
        if self._rests:
            self.train()

    def _start(self, stage: str) -> None:
        self._accuracy = LoaderAccuracy.of_run(self.trainer, stage, len(self.known_classes()), self.device)

    def _evaluate(self, batch: Sequence[Any], loader: int) -> None:
        if self._accuracy is None:
            raise ValueError("Nothing counts the predictions: run validation and test through the Trainer.")
        with torch.no_grad():
            self._accuracy.update(loader, self(batch[0]), batch[1])

    def _log(self, stage: str) -> None:
        if self._accuracy is not None:
            self._accuracy.log(self, stage)
