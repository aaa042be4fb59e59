"""Finetuning a CLIP as an image classifier, from its own zero-shot head."""
# ruff: noqa: ARG002 - Lightning reads the arguments of its hooks, and save_hyperparameters those of __init__

from __future__ import annotations

from typing import Any

import torch

from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.encoders import Encoder, load_encoder
from lightning_robust.models.interpolate import check_same_entries
from lightning_robust.models.zero_shot import zero_shot_head
from lightning_robust.training.classifier_module import ClassifierModule
from lightning_robust.training.loader_accuracy import arguments_of, class_texts


class ClassifierFinetuning(ClassifierModule):
    """Finetune encoder and head end to end with cross-entropy; the head starts as the zero-shot head.

    The recipe is that of Wise-FT (Wortsman et al. 2022, arXiv 2109.01903): AdamW without decay on vectors, linear
    warm-up and cosine per step, features normalised before the head. Gradient clipping is the Trainer's
    `gradient_clip_val`. Batches are `(images, targets, …)`. The classifier is `self.model` from `setup` on; before any
    training it is the zero-shot CLIP. Class names and templates are kept in the checkpoint, so that
    `load_from_checkpoint` needs no data module.

    Logged tags:
        `train/loss`: cross-entropy of the batch, nats, every step.
        `val/<loader>/accuracy`: share of right predictions per validation loader, in [0, 1]; loader 0 is the reference.
        `val/shifts/accuracy`: plain mean over the other loaders.
        `test/<loader>/accuracy`, `test/shifts/accuracy`: the same on the test loaders.

    Args:
        encoder: Name of the encoder, see `models.load_encoder`.
        class_names: The classes, in the order of the labels; None takes the data module's `class_names`.
        templates: Prompts with `{}`; None takes the data module's `templates`.
        lr: Highest learning rate.
        betas: AdamW's decay rates.
        weight_decay: Decay of matrices; vectors have none.
        warmup_steps: Steps of the linear warm-up.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1).
        seed: Seed of random weights: those of `untrained_model`, or of the start where it is not pretrained.
        pretrained: False starts from random weights, and from the head that their text tower gives.

    Raises:
        ValueError: If the encoder is unknown or its files are missing, or the label smoothing is out of range.
    """

    def __init__(
        self,
        encoder: str,
        class_names: list[str] | None = None,
        templates: list[str] | None = None,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.1,
        warmup_steps: int = 50,
        label_smoothing: float = 0.0,
        seed: int = 0,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing lies in [0, 1), not {label_smoothing}.")
        self.save_hyperparameters()
        # not a module, so the CLIP appears once in the state dict: inside self.model
        self.loaded: Encoder = load_encoder(encoder, pretrained=pretrained, seed=seed)
        self.transform = self.loaded.transform
        self.templates: list[str] | None = None

    def setup(self, stage: str) -> None:
        """Build the classifier, once the class names are known."""
        datamodule = getattr(self.trainer, "datamodule", None)
        if self.class_names is None:
            names, templates = class_texts(datamodule, self.hparams["class_names"], self.hparams["templates"])
            self._build(names, templates)
            return
        theirs = getattr(datamodule, "class_names", None)
        if theirs is not None and list(theirs) != self.class_names:
            raise ValueError(
                f"This classifier is for the {len(self.class_names)} classes {self.class_names[:3]}…, but the data "
                f"module has the {len(theirs)} classes {list(theirs)[:3]}…."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the class names and templates with the weights."""
        checkpoint["class_names"], checkpoint["templates"] = self.class_names, self.templates

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the classifier of the checkpoint, where there is none yet, so that its weights have a place."""
        if "class_names" not in checkpoint or "templates" not in checkpoint:
            raise ValueError("The checkpoint holds no class names: it was not written by ClassifierFinetuning.")
        if self.class_names is None:
            self._build(checkpoint["class_names"], checkpoint["templates"])
        elif checkpoint["class_names"] != self.class_names:
            raise ValueError("The checkpoint was trained on other classes than the data module has.")
        check_same_entries(checkpoint["state_dict"], self.state_dict(), ("the checkpoint", "the model"))

    def untrained_model(self) -> ClassifierFinetuning:
        """Build the same module with an untrained encoder, as a control.

        Returns:
            Random image and text tower, and the zero-shot head that this text tower gives; in eval mode, on this
            module's device. Nothing of this module or of the random state is touched.

        Raises:
            ValueError: If the class names are not known yet: call it after `setup`.
        """
        names, templates = self._texts()
        fresh = ClassifierFinetuning(**{**arguments_of(self), "pretrained": False})
        fresh._build(names, templates)
        return fresh.eval().to(self.device)

    def _build(self, class_names: list[str], templates: list[str]) -> None:
        head = zero_shot_head(self.loaded.model, self.loaded.tokenizer, class_names, templates)
        # Lightning keeps the modes it finds, and an encoder comes in eval mode
        model = ImageClassifier(self.loaded.model, head).train().to(self.device)
        # the layout of the convolutions: a third faster on the CPU, and what tensor cores want
        self.model = model.to(memory_format=torch.channels_last)
        self.class_names, self.templates = list(class_names), list(templates)

    def known_classes(self) -> list[str]:
        """The classes, in the order of the labels."""
        return self._texts()[0]

    def _texts(self) -> tuple[list[str], list[str]]:
        if self.class_names is None or self.templates is None:
            raise ValueError("The classes are not known yet: fit, validate, or load a checkpoint first.")
        return self.class_names, self.templates
