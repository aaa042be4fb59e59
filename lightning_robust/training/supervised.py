"""Supervised pretraining: the image tower of a CLIP with a linear head, from random weights, on labels alone."""
# ruff: noqa: ARG002 - Lightning reads the arguments of its hooks, and save_hyperparameters those of __init__

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_robust.models.bundled import save_classifier
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.encoders import Encoder, load_encoder
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.interpolate import check_same_entries
from lightning_robust.training.averages import copy_into_averages
from lightning_robust.training.class_names import check_class_names
from lightning_robust.training.classifier_module import ClassifierModule
from lightning_robust.training.loader_accuracy import arguments_of, check_countable, class_list
from lightning_robust.training.random_head import random_head


class SupervisedPretraining(ClassifierModule):
    """Train an image classifier from scratch with cross-entropy: the supervised control of a CLIP.

    Same image tower, same normalisation before the head and the same optimiser as for the CLIP; what differs is that it
    learns from labels alone: those of the reference, or of extra data. Towers without text pretrain in the same way
    (`timm:NAME`), and `ClassifierFinetuning` with `head="linear-probe"` goes on from what is exported, as
    `timm:NAME@FOLDER/model.safetensors`, on data with other classes. The head starts from random rows of length
    1 / 0.07, drawn with the seed. Batches are `(images, targets, …)`. The classifier is `self.model` from `setup` on.
    Class names are kept in the checkpoint, so that `load_from_checkpoint` needs no data module.

    Logged tags:
        `train/loss`: cross-entropy of the batch, nats, every step.
        `val/<loader>/accuracy`: share of right predictions per validation loader, in [0, 1]; loader 0 is the reference.
        `val/shifts/accuracy`: plain mean over the other loaders.
        `test/<loader>/accuracy`, `test/shifts/accuracy`: the same on the test loaders.

    Args:
        encoder: Name of the architecture, see `models.load_encoder`; its weights and its text tower are not used.
        class_names: The classes, in the order of the labels; None takes the data module's `class_names`. Other words
            for the data's classes are allowed, see `check_class_names`.
        lr: Highest learning rate.
        betas: AdamW's decay rates.
        weight_decay: Decay of matrices; vectors have none.
        warmup_steps: Steps of the linear warm-up.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1).
        seed: Seed of the random weights, head included.
        export_to: Folder that receives the trained classifier at the end of the fit, for `models.load_classifier`; a
            relative one lies below the Trainer's `default_root_dir`.

    Raises:
        ValueError: If the encoder is unknown, or the label smoothing is out of range.
    """

    def __init__(
        self,
        encoder: str,
        class_names: list[str] | None = None,
        lr: float = 8e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.1,
        warmup_steps: int = 100,
        label_smoothing: float = 0.0,
        seed: int = 0,
        export_to: str | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing lies in [0, 1), not {label_smoothing}.")
        self.save_hyperparameters()
        # not a module: its text tower is no part of this model
        self.loaded: Encoder = load_encoder(encoder, pretrained=False, seed=seed)
        self.transform = self.loaded.transform

    def setup(self, stage: str) -> None:
        """Build the classifier, once the class names are known."""
        datamodule = getattr(self.trainer, "datamodule", None)
        check_countable(datamodule)  # refuses now what could not be counted later
        if self.class_names is None:
            self._build(class_list(datamodule, self.hparams["class_names"]))
            if stage == "fit":
                copy_into_averages(self.trainer, self)
        check_class_names(self.known_classes(), datamodule, given=self.hparams["class_names"] is not None)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the class names with the weights."""
        checkpoint["class_names"] = self.class_names

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the classifier of the checkpoint, where there is none yet, so that its weights have a place."""
        if not checkpoint.get("class_names"):
            raise ValueError("The checkpoint holds no class names: it was not written by SupervisedPretraining.")
        if self.class_names is None:
            self._build(checkpoint["class_names"])
        elif checkpoint["class_names"] != self.class_names:
            raise ValueError("The checkpoint was trained on other classes than the data module has.")
        check_same_entries(checkpoint["state_dict"], self.state_dict(), ("the checkpoint", "the model"))

    def untrained_model(self) -> SupervisedPretraining:
        """Build the same module as it was before any training, as a control.

        Returns:
            Random image tower and random head, in eval mode, on this module's device.

        Raises:
            ValueError: If the class names are not known yet: call it after `setup`.
        """
        fresh = SupervisedPretraining(**arguments_of(self))
        fresh._build(self.known_classes())
        return fresh.eval().to(self.device)

    def on_fit_end(self) -> None:
        """Export the trained classifier where that was asked for."""
        if self.hparams["export_to"] is not None and self.trainer.is_global_zero:
            self.export(Path(self.trainer.default_root_dir) / self.hparams["export_to"])

    def export(self, path: str | Path) -> None:
        """Write the classifier as a folder that `models.load_classifier` loads, safetensors only.

        Args:
            path: The folder.

        Raises:
            ValueError: If the class names are not known yet, or the folder cannot be written.
        """
        names = self.known_classes()
        save_classifier(path, self.model, encoder=self.loaded.name, class_names=names)

    def _build(self, class_names: Sequence[str]) -> None:
        head = random_head(len(class_names), self.loaded.embed_dim, int(self.hparams["seed"]))
        # Lightning keeps the modes it finds, and an encoder comes in eval mode
        model = ImageClassifier(ImageTower(self.loaded.model.get_submodule("visual")), head).train().to(self.device)
        # the layout of the convolutions: a third faster on the CPU, and what tensor cores want
        self.model = model.to(memory_format=torch.channels_last)
        self.class_names = [str(name) for name in class_names]
