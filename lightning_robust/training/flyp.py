"""Finetuning like pretraining (FLYP): the contrastive loss with captions made of class names."""
# ruff: noqa: ARG002 - Lightning reads the arguments of its hooks, and save_hyperparameters those of __init__

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_robust.models.encoders import Encoder, load_encoder
from lightning_robust.models.interpolate import check_same_entries
from lightning_robust.models.text_head import TextHeadClassifier
from lightning_robust.training.averages import copy_into_averages
from lightning_robust.training.class_captions import ClassCaptions
from lightning_robust.training.class_names import check_class_names, texts_in_words
from lightning_robust.training.classifier_module import ClassifierModule
from lightning_robust.training.contrastive import MAX_LOGIT_SCALE
from lightning_robust.training.contrastive_losses import info_nce
from lightning_robust.training.loader_accuracy import arguments_of, check_countable, class_texts
from lightning_robust.training.lone_rows import batch_norm_of, warn_of_lone_pair
from lightning_robust.training.precision import full, full_precision

_HEAD = "model.head.weight"


class ContrastiveFinetuning(ClassifierModule):
    """Finetune both towers of a CLIP on labelled images with the loss of pretraining (FLYP, arXiv 2212.00638).

    Each image's caption is one of the templates with its class name, drawn anew at every step, a function of
    (seed, epoch, batch, process). As in the paper (Goyal et al. 2023) the loss is InfoNCE over the batch, and captions
    of the same class in one batch stay negatives of each other; `positives="same-caption"` makes identical captions
    positives instead, which is the same loss unless the text tower has dropout, see `info_nce`. Batches of all
    processes are contrasted with each other; accumulated batches are not. The classifier is `self.model` from `setup`
    on, a `TextHeadClassifier`: its head is the zero-shot head of the text tower as it is now, also on a Wise-FT path,
    whose every point is a CLIP of its own. A SigLIP is finetuned with the same loss, which has no place for
    its `logit_bias`: it stays as it is, and the logit scale within CLIP's bounds.

    Logged tags:
        `train/loss`: the contrastive loss, nats, every step.
        `train/logit_scale`: the factor on the cosines, every step; it stays in [1, 100].
        `val/<loader>/accuracy`: share of right zero-shot predictions per validation loader, in [0, 1]; loader 0 is the
            reference.
        `val/shifts/accuracy`: plain mean over the other loaders.
        `test/<loader>/accuracy`, `test/shifts/accuracy`: the same on the test loaders.

    Args:
        encoder: Name of a CLIP, see `models.load_encoder`.
        class_names: The classes, in the order of the labels; None takes the data module's `class_names`. Other words
            for the data's classes are allowed, see `check_class_names`.
        templates: Prompts with `{}`; None takes the data module's `templates`.
        lr: Highest learning rate.
        betas: AdamW's decay rates.
        weight_decay: Decay of matrices; vectors have none.
        warmup_steps: Steps of the linear warm-up.
        positives: `"own"`, or `"same-caption"`.
        freeze: Globs over names of parameters or modules that are not trained, such as `model.encoder.transformer`.
        seed: Seed of the captions, and of random weights: those of `untrained_model`, or of the start.
        pretrained: False starts from random weights.

    Raises:
        ValueError: If the encoder is unknown, has no text tower or its files are missing, or `positives` is neither;
            from `setup`, if a class name or template holds an unknown word or nothing is called what `freeze` names.
    """

    model: TextHeadClassifier

    def __init__(
        self,
        encoder: str,
        class_names: list[str] | None = None,
        templates: list[str] | None = None,
        lr: float = 1e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.1,
        warmup_steps: int = 500,
        positives: Literal["own", "same-caption"] = "own",
        freeze: list[str] | None = None,
        seed: int = 0,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        if positives not in ("own", "same-caption"):
            raise ValueError(f"positives is 'own' or 'same-caption', not {positives!r}.")
        if freeze is not None and not freeze:
            raise ValueError("freeze names nothing: leave it out.")
        self.save_hyperparameters()
        self.loaded: Encoder = load_encoder(encoder, pretrained=pretrained, seed=seed)
        if not hasattr(self.loaded.model, "encode_text"):
            raise ValueError(f"ContrastiveFinetuning trains on captions, and {encoder!r} has no text tower.")
        self.transform = self.loaded.transform
        self.templates: list[str] | None = None
        self._captions: ClassCaptions | None = None

    def setup(self, stage: str) -> None:
        """Build the classifier, once the class names are known."""
        datamodule = getattr(self.trainer, "datamodule", None)
        check_countable(datamodule)  # refuses now what could not be counted later
        if self.class_names is None:
            self._build(*class_texts(datamodule, self.hparams["class_names"], self.hparams["templates"]))
        check_class_names(self.known_classes(), datamodule, given=self.hparams["class_names"] is not None)
        if stage == "fit":
            self._captions = ClassCaptions(self.loaded.tokenizer, self.known_classes(), self.templates or [])
        # thousands of texts want the accelerator; the strategy would move the model there next
        self.model.to(self.trainer.strategy.root_device)
        self.model.refresh()
        if stage == "fit":
            copy_into_averages(self.trainer, self)

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        """Contrast the images of a batch `(images, targets, …)` with captions of their classes."""
        encoder = self.model.encoder
        if self._captions is None:
            raise ValueError("The classes are not known yet: run it through Trainer.fit.")
        tokens = self._captions.draw(
            batch[1], int(self.hparams["seed"]), self.current_epoch, batch_idx, self.global_rank
        )
        with batch_norm_of(len(tokens)):
            images = encoder.encode_image(batch[0], normalize=True)
        texts = encoder.encode_text(tokens, normalize=True)
        images, texts, tokens = self._of_all(images), self._of_all(texts), self._of_all(tokens)
        warn_of_lone_pair(len(tokens))
        with full_precision(images.device):
            images, texts, scale = full(images), full(texts), full(encoder.logit_scale).exp()
            loss = info_nce(images, texts, scale, tokens if self.hparams["positives"] == "same-caption" else None)
        self.log("train/loss", loss, batch_size=len(batch[0]), prog_bar=True)
        self.log("train/logit_scale", scale.detach(), batch_size=len(batch[0]))
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and keep the factor on the cosines within [1, 100], as CLIP does, before anything looks at it."""
        super().optimizer_step(*args, **kwargs)
        scale = self.model.encoder.logit_scale
        if scale.requires_grad:
            with torch.no_grad():
                scale.clamp_(0.0, MAX_LOGIT_SCALE)

    def head_weight(self) -> Tensor:
        """Weight W of the zero-shot head that the text tower gives now, `(C, d)`."""
        return self.model.refresh().detach().clone()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the class names and templates with the weights, and the head that belongs to them."""
        checkpoint["class_names"], checkpoint["templates"] = self.class_names, self.templates
        # callbacks come first: with averaged weights the state is theirs by now, and training's beside it
        for part in ("state_dict", "current_model_state"):
            state = checkpoint.get(part, {})
            if _HEAD in state:
                own = {name.removeprefix("model."): value for name, value in state.items()}
                state[_HEAD] = self.model.split_state(own)[1]["weight"]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the classifier of the checkpoint, where there is none yet, so that its weights have a place."""
        if not checkpoint.get("class_names") or not checkpoint.get("templates"):
            raise ValueError("The checkpoint holds no class names: it was not written by ContrastiveFinetuning.")
        if self.class_names is None:
            self._build(checkpoint["class_names"], checkpoint["templates"])
        elif checkpoint["class_names"] != self.class_names:
            raise ValueError("The checkpoint was trained on other classes than the data module has.")
        check_same_entries(checkpoint["state_dict"], self.state_dict(), ("the checkpoint", "the model"))

    def untrained_model(self) -> ContrastiveFinetuning:
        """Build the same module with random towers, as a control; in eval mode, on this module's device.

        Raises:
            ValueError: If the class names are not known yet: call it after `setup`.
        """
        names = self.known_classes()
        fresh = ContrastiveFinetuning(**{**arguments_of(self), "pretrained": False})
        fresh._build(names, self.templates or [])
        fresh.eval().to(self.device).model.refresh()
        return fresh

    @property
    def start(self) -> str:
        """What training begins from, in words, once the classes are known; a run's record and table say it."""
        random = "" if self.hparams["pretrained"] else " of random weights"
        return f"zero-shot{random}, {texts_in_words(self.known_classes(), self.templates or [])}"

    def _build(self, class_names: list[str], templates: list[str]) -> None:
        loaded = self.loaded
        model = TextHeadClassifier(loaded.model, loaded.tokenizer, class_names, templates, loaded.embed_dim)
        # Lightning keeps the modes it finds, and an encoder comes in eval mode
        if getattr(model.encoder, "logit_bias", None) is not None:
            model.encoder.logit_bias.requires_grad_(False)
        self.model = model.train().to(self.device).to(memory_format=torch.channels_last)
        if self.hparams["freeze"]:
            self.freeze_parts(self.hparams["freeze"])
        self.class_names, self.templates = list(class_names), list(templates)

    def _of_all(self, rows: Tensor) -> Tensor:
        """Rows of all processes, this one's with their gradients and the others' too."""
        gathered: Any = self.all_gather(rows, sync_grads=rows.requires_grad)
        found: Tensor = gathered
        return found if found.ndim == rows.ndim else found.flatten(0, 1)
