"""Contrastive pretraining of a CLIP on images with captions."""
# ruff: noqa: ARG002 - Lightning reads the arguments of its hooks, and save_hyperparameters those of __init__

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from lightning_robust.models.clip_folder import read_clip_folder, save_clip_folder
from lightning_robust.models.encoders import load_encoder
from lightning_robust.models.interpolate import check_same_entries
from lightning_robust.models.zero_shot import zero_shot_head
from lightning_robust.training.loader_accuracy import LoaderAccuracy, arguments_of, check_countable, class_texts
from lightning_robust.training.optimisation import adamw_with_schedule, decay_groups

MAX_LOGIT_SCALE = math.log(100.0)


def contrastive_loss(images: Tensor, texts: Tensor, logit_scale: Tensor, tokens: Tensor) -> Tensor:
    """InfoNCE in both directions, in which identical captions are positives of each other.

    The target of an image is uniform over all captions of the batch that are identical to its own, and likewise for a
    caption. With all captions different this is the loss of CLIP (Radford et al. 2021, arXiv 2103.00020).

    Args:
        images: Normalised image embeddings, `(n, d)`.
        texts: Normalised text embeddings, `(n, d)`; row i belongs to image i.
        logit_scale: The factor on the cosines, after `exp`.
        tokens: The captions' tokens, `(n, context length)`; they say which captions are identical.

    Returns:
        The mean of both directions, a scalar.

    Example:
        >>> h = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> loss = contrastive_loss(h, h, torch.tensor(9.0), torch.tensor([[1], [1]]))
        >>> round(float(loss), 4)  # log 2: the two cannot be told apart, and no gradient asks for it
        0.6931
    """
    logits = logit_scale * images @ texts.T
    same = (tokens[:, None, :] == tokens[None, :, :]).all(dim=-1).to(logits.dtype)
    targets = same / same.sum(dim=1, keepdim=True)
    return 0.5 * (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets))


class ContrastivePretraining(LightningModule):
    """Train a CLIP from random weights on `(images, captions)`, and follow its zero-shot accuracy.

    Logged tags: `train/loss` (nats, every step), `train/logit_scale` (factor in [1, 100]),
    `val/<loader>/accuracy` (zero-shot, in [0, 1], every validation; one small text pass per validation) and
    `val/shifts/accuracy` (mean over all loaders but the first). Captions are texts or tokens `(n, context length)`.
    Each process contrasts within its own batch.

    Args:
        encoder: Name of the architecture, see `models.load_encoder`; its weights are not used.
        class_names: Classes of the validation loaders; None takes the data module's.
        templates: Prompts with `{}`; None takes the data module's.
        lr: Highest learning rate.
        betas: AdamW's decay rates.
        weight_decay: Decay of matrices; vectors have none.
        warmup_steps: Steps of the linear warm-up.
        seed: Seed of the random weights.
        export_to: Folder that receives the trained CLIP at the end of the fit, as an open_clip `local-dir:` folder; a
            relative one lies below the Trainer's `default_root_dir`.

    Raises:
        ValueError: If the encoder is unknown or has no text tower, or is to be exported and is not open_clip's.
    """

    #: The layer whose output is h, for monitors.
    representation_layer = "encoder.visual"

    def __init__(
        self,
        encoder: str,
        class_names: list[str] | None = None,
        templates: list[str] | None = None,
        lr: float = 1.5e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.1,
        warmup_steps: int = 100,
        seed: int = 0,
        export_to: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        loaded = load_encoder(encoder, pretrained=False, seed=seed)
        if not loaded.has_text:
            raise ValueError(
                f"ContrastivePretraining trains on captions, and {encoder!r} has no text tower: take a CLIP here, or "
                "SupervisedPretraining for an image tower alone."
            )
        if export_to is not None:
            _check_exported(encoder, loaded.config)  # not after hours of training
        self.transform = loaded.transform
        self.tokenizer = loaded.tokenizer
        # the layout of the convolutions: a third faster on the CPU, and what tensor cores want
        self.encoder: Any = loaded.model.train().to(memory_format=torch.channels_last)
        self._config, self._folder = loaded.config, loaded.folder
        self._accuracy: LoaderAccuracy | None = None
        self._head: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Refuse now what could not be counted later."""
        check_countable(getattr(self.trainer, "datamodule", None))

    def forward(self, images: Tensor) -> Tensor:
        """Give the raw representations h, `(n, d)`, of preprocessed images `(n, 3, H, W)`."""
        h: Tensor = self.encoder.encode_image(images)
        return h

    def untrained_model(self) -> ContrastivePretraining:
        """Build the same module as it was before any training, as a control, on this module's device."""
        # with the texts filled in: the copy has no Trainer to ask for them
        names, templates = self._class_texts()
        texts = {"class_names": names, "templates": templates}
        return ContrastivePretraining(**{**arguments_of(self), **texts}).eval().to(self.device)

    def head_weight(self) -> Tensor:
        """Weight W of the zero-shot head that the text tower gives now, `(C, d)`."""
        return zero_shot_head(self.encoder, self.tokenizer, *self._class_texts())

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        """Contrast the images and captions of a batch."""
        images, tokens = batch[0], self._tokens(batch[1])
        loss = contrastive_loss(
            self.encoder.encode_image(images, normalize=True),
            self.encoder.encode_text(tokens, normalize=True),
            self.encoder.logit_scale.exp(),
            tokens,
        )
        self.log("train/loss", loss, batch_size=len(images), prog_bar=True)
        self.log("train/logit_scale", self.encoder.logit_scale.detach().exp(), batch_size=len(images))
        return loss

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another architecture."""
        check_same_entries(checkpoint["state_dict"], self.state_dict(), ("the checkpoint", "the model"))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and keep the factor on the cosines within [1, 100], as CLIP does, before anything looks at it."""
        super().optimizer_step(*args, **kwargs)
        with torch.no_grad():
            self.encoder.logit_scale.clamp_(0.0, MAX_LOGIT_SCALE)

    def on_validation_epoch_start(self) -> None:
        """Read the class names with the text tower as it is now."""
        self._head = self.head_weight()
        self._accuracy = LoaderAccuracy.of_run(self.trainer, "val", len(self._head), self.device)

    def validation_step(self, batch: Sequence[Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Classify a batch of `(images, targets, …)` with the zero-shot head."""
        if self._head is None or self._accuracy is None:
            raise ValueError("Validation has to start with on_validation_epoch_start: run it through the Trainer.")
        features = self.encoder.encode_image(batch[0], normalize=True)
        self._accuracy.update(dataloader_idx, features @ self._head.T, batch[1])

    def on_validation_epoch_end(self) -> None:
        """Log the accuracies."""
        if self._accuracy is not None:
            self._accuracy.log(self, "val")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine over the whole run."""
        optimizer, schedule = adamw_with_schedule(
            decay_groups(self.encoder.parameters(), self.hparams["weight_decay"]),
            lr=self.hparams["lr"],
            betas=tuple(self.hparams["betas"]),
            warmup_steps=self.hparams["warmup_steps"],
            total_steps=self.trainer.estimated_stepping_batches,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_end(self) -> None:
        """Export the trained CLIP where that was asked for."""
        if self.hparams["export_to"] is not None and self.trainer.is_global_zero:
            self.export(Path(self.trainer.default_root_dir) / self.hparams["export_to"])

    def export(self, path: str | Path) -> None:
        """Write the CLIP as a folder that plain open_clip loads as `local-dir:<path>`: model and tokenizer.

        Args:
            path: The folder; files of the same names are replaced one by one, each atomically.

        Raises:
            ValueError: If the encoder is not open_clip's, or the folder cannot be written.
        """
        config = self._config
        _check_exported(self.hparams["encoder"], config)
        tokenizer_files: dict[str, bytes] = {}
        if self._folder is not None:
            config, tokenizer_files = read_clip_folder(self._folder)
        state = {name: tensor.detach().cpu() for name, tensor in self.encoder.state_dict().items()}
        save_clip_folder(path, config=config, tokenizer_files=tokenizer_files, state=state)

    def _class_texts(self) -> tuple[list[str], list[str]]:
        datamodule = None if self._trainer is None else getattr(self._trainer, "datamodule", None)
        return class_texts(datamodule, self.hparams["class_names"], self.hparams["templates"])

    def _tokens(self, captions: Any) -> Tensor:
        if isinstance(captions, Tensor):
            return captions
        return self.tokenizer(list(captions)).to(self.device)


def _check_exported(encoder: str, config: Mapping[str, Any]) -> None:
    """Refuse to write a model of another library as an open_clip folder."""
    if "model_cfg" not in config:
        raise ValueError(
            f"export_to writes a folder of open_clip, and a model like {encoder!r} is none: leave export_to out and "
            f"load a checkpoint of the run as '{encoder}@FILE'."
        )
