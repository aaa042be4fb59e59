"""Finetuning an encoder as an image classifier, from its zero-shot head or from a linear probe."""
# ruff: noqa: ARG002 - Lightning reads the arguments of its hooks, and save_hyperparameters those of __init__

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.encoders import Encoder, load_encoder
from lightning_robust.models.interpolate import check_same_entries
from lightning_robust.models.zero_shot import zero_shot_head
from lightning_robust.training.averages import copy_into_averages
from lightning_robust.training.class_names import check_class_names, texts_in_words
from lightning_robust.training.classifier_module import ClassifierModule
from lightning_robust.training.layer_decay import layer_decay_groups, parameter_depths
from lightning_robust.training.linear_probe import L2
from lightning_robust.training.loader_accuracy import arguments_of, check_countable, class_list, class_texts
from lightning_robust.training.probe_head import probe_head
from lightning_robust.training.random_head import random_head

MANY_TEXTS = 4096
"""Prompts from which on a zero-shot head is kept in the cache on disk."""


class ClassifierFinetuning(ClassifierModule):
    """Finetune encoder and head end to end with cross-entropy, from the zero-shot head or from a linear probe.

    The recipe is in the manner of Wise-FT (Wortsman et al. 2022, arXiv 2109.01903): AdamW, linear warm-up and cosine
    per step, features normalised before the head. Weight decay is on matrices alone, as CLIP was trained
    (arXiv 2103.00020: not on gains and biases). Gradient clipping is the Trainer's
    `gradient_clip_val`. Batches are `(images, targets, …)`. The classifier is `self.model` from `setup` on; before any
    training it is the zero-shot CLIP, or with `head="linear-probe"` (LP-FT, Kumar et al. 2022, arXiv 2202.10054) the
    encoder with a probe fitted to its features of the training images: at the start of a fit, before anything is
    trained, see `probe_head`. The probe needs no text tower and no known words. Class names and templates are kept in
    the checkpoint, so that `load_from_checkpoint` needs no data module; a run that goes on fits no second probe.

    Logged tags:
        `train/loss`: cross-entropy of the batch, nats, every step.
        `val/<loader>/accuracy`: share of right predictions per validation loader, in [0, 1]; loader 0 is the reference.
        `val/shifts/accuracy`: plain mean over the other loaders.
        `test/<loader>/accuracy`, `test/shifts/accuracy`: the same on the test loaders.

    Args:
        encoder: Name of the encoder, see `models.load_encoder`.
        class_names: The classes, in the order of the labels; None takes the data module's `class_names`. Other words
            for the data's classes are allowed, see `check_class_names`.
        templates: Prompts with `{}`; None takes the data module's `templates`. A linear probe has none.
        lr: Highest learning rate.
        betas: AdamW's decay rates.
        weight_decay: Decay of matrices; vectors have none.
        warmup_steps: Steps of the linear warm-up.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1).
        seed: Seed of random weights: those of `untrained_model`, or of the start where it is not pretrained.
        pretrained: False starts from random weights, and from the head that their text tower gives.
        head: `"zero-shot"` or `"linear-probe"`.
        l2: Strength of the probe's regularisation, see `fit_linear_probe`; None is 1e-2. A zero-shot head has none.
        train: `"all"`, image tower and head, or `"head"`: the encoder is frozen and stays in eval mode.
        freeze: Globs over names of parameters or modules that are not trained, such as
            `model.encoder.visual.transformer.resblocks.[0-5]`; batch norm and dropout of what is frozen whole stay in
            eval mode.
        layer_decay: Factor in (0, 1) on the learning rate from one depth of the encoder to the one before, see
            `layer_decay_groups`; None trains all at `lr`.

    Raises:
        ValueError: If the encoder is unknown or its files are missing, the label smoothing is out of range, or a
            setting has no effect; from `setup`, if nothing is called what `freeze` names, or the encoder's depths are
            not known.
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
        head: Literal["zero-shot", "linear-probe"] = "zero-shot",
        l2: float | None = None,
        train: Literal["all", "head"] = "all",
        freeze: list[str] | None = None,
        layer_decay: float | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing lies in [0, 1), not {label_smoothing}.")
        _check_head(head, templates, l2)
        _check_trained(train, freeze, layer_decay)
        self.save_hyperparameters()
        # not a module, so the CLIP appears once in the state dict: inside self.model
        self.loaded: Encoder = load_encoder(encoder, pretrained=pretrained, seed=seed)
        self.transform = self.loaded.transform
        self.templates: list[str] | None = None
        self._needs_probe = False

    def setup(self, stage: str) -> None:
        """Build the classifier, once the class names are known."""
        datamodule = getattr(self.trainer, "datamodule", None)
        check_countable(datamodule)  # refuses now what could not be counted later
        given = self.hparams["class_names"]
        if self.class_names is not None:
            check_class_names(self.class_names, datamodule, given=given is not None)
            return
        if given is not None:
            check_class_names(given, datamodule, given=True)
        # thousands of texts want the accelerator; the strategy would move the model there next
        self.loaded.model.to(self.trainer.strategy.root_device)
        if self._is_probe:
            self._build(class_list(datamodule, given), None)
            self._needs_probe = True
        else:
            names, templates = class_texts(datamodule, given, self.hparams["templates"])
            self._build(names, templates, self._zero_shot(names, templates))
        if stage == "fit":
            copy_into_averages(self.trainer, self)

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
        self._needs_probe = False

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Fit the probe where the head is to be one and no checkpoint brought it; then optimiser and schedule."""
        # the first hook of a fit that knows whether it goes on from a checkpoint; callbacks' on_fit_start comes later
        if self._needs_probe:
            head = probe_head(self.trainer, self, self.model, len(self.known_classes()), self._l2)
            with torch.no_grad():
                self.model.head.weight.copy_(head)
            self._needs_probe = False
            copy_into_averages(self.trainer, self)
        return super().configure_optimizers()

    def untrained_model(self) -> ClassifierFinetuning:
        """Build the same module with an untrained encoder, as a control.

        Returns:
            Random image and text tower, and the zero-shot head that this text tower gives; random rows of length
            1 / 0.07 where the head is a linear probe. In eval mode, on this module's device. Nothing of this module or
            of the random state is touched.

        Raises:
            ValueError: If the class names are not known yet: call it after `setup`.
        """
        names = self.known_classes()
        fresh = ClassifierFinetuning(**{**arguments_of(self), "pretrained": False})
        if self.templates is None:
            head = random_head(len(names), self.loaded.embed_dim, int(self.hparams["seed"]))
        else:
            head = fresh._zero_shot(names, self.templates)
        fresh._build(names, self.templates, head)
        return fresh.eval().to(self.device)

    def _zero_shot(self, class_names: list[str], templates: list[str]) -> Tensor:
        many = len(class_names) * len(templates) >= MANY_TEXTS
        return zero_shot_head(self.loaded.model, self.loaded.tokenizer, class_names, templates, cache=many)

    def _build(self, class_names: list[str], templates: list[str] | None, head: Tensor | None = None) -> None:
        """Put the classifier together; a head that is not given comes from a probe or a checkpoint."""
        if head is None:
            head = torch.zeros(len(class_names), self.loaded.embed_dim)
        # Lightning keeps the modes it finds, and an encoder comes in eval mode
        model = ImageClassifier(self.loaded.model, head).train().to(self.device)
        # the layout of the convolutions: a third faster on the CPU, and what tensor cores want
        self.model = model.to(memory_format=torch.channels_last)
        if self.hparams["train"] == "head":
            self.freeze_parts(["model.encoder.visual"])
        elif self.hparams["freeze"]:
            self.freeze_parts(self.hparams["freeze"])
        if self.hparams["layer_decay"] is not None:
            parameter_depths(self.model.encoder.visual)  # refuses now what it does not know
        self.class_names = list(class_names)
        self.templates = None if templates is None else list(templates)

    @property
    def start(self) -> str:
        """What training begins from, in words, once the classes are known; a run's record and table say it."""
        random = "" if self.hparams["pretrained"] else " of random weights"
        if self._is_probe:
            return f"a linear probe{random}, l2 = {self._l2:g}"
        return f"zero-shot{random}, {texts_in_words(self.known_classes(), self.templates or [])}"

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser: by decay, and by depth where the learning rate falls with it."""
        if self.hparams["layer_decay"] is None:
            return super().parameter_groups()
        names = ("lr", "weight_decay", "layer_decay")
        return layer_decay_groups(self.model, **{name: float(self.hparams[name]) for name in names})

    @property
    def _is_probe(self) -> bool:
        return bool(self.hparams["head"] == "linear-probe")

    @property
    def _l2(self) -> float:
        return L2 if self.hparams["l2"] is None else float(self.hparams["l2"])

    def _start(self, stage: str) -> None:
        self._refuse_missing_probe()
        super()._start(stage)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Give the logits `(n, C)` of a batch: images, or `(images, …)`."""
        self._refuse_missing_probe()
        return super().predict_step(batch, batch_idx, dataloader_idx)

    def _refuse_missing_probe(self) -> None:
        if self._needs_probe:
            raise ValueError(
                "There is no linear probe yet: fit makes it from the training images; give a run's checkpoint here."
            )


def _check_head(head: str, templates: list[str] | None, l2: float | None) -> None:
    if head not in ("zero-shot", "linear-probe"):
        raise ValueError(f"head is 'zero-shot' or 'linear-probe', not {head!r}.")
    if head == "linear-probe" and templates is not None:
        raise ValueError("templates have no effect on head='linear-probe', which reads no texts: leave them out.")
    if head == "zero-shot" and l2 is not None:
        raise ValueError(f"l2={l2} has no effect on head='zero-shot': leave it out, or take head='linear-probe'.")
    if l2 is not None and not l2 > 0:
        raise ValueError(f"l2 is above 0, not {l2}.")


def _check_trained(train: str, freeze: list[str] | None, layer_decay: float | None) -> None:
    if train not in ("all", "head"):
        raise ValueError(f"train is 'all' or 'head', not {train!r}.")
    if freeze is not None and not freeze:
        raise ValueError("freeze names nothing: leave it out.")
    if layer_decay is not None and not 0.0 < layer_decay < 1.0:
        raise ValueError(f"layer_decay lies in (0, 1), not {layer_decay}; leave it out for one learning rate.")
    for name, value in (("freeze", freeze), ("layer_decay", layer_decay)):
        if train == "head" and value is not None:
            raise ValueError(
                f"{name}={value} has no effect on train='head', which trains the head alone: leave it out."
            )
