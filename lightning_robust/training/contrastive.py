"""Contrastive pretraining of a CLIP on images with captions."""
# ruff: noqa: ARG002 - Lightning reads the arguments of its hooks, and save_hyperparameters those of __init__

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import torch
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from lightning_robust.models.clip_folder import read_clip_folder, save_clip_folder
from lightning_robust.models.current_head import CurrentHead
from lightning_robust.models.encoders import load_encoder
from lightning_robust.models.interpolate import check_same_entries
from lightning_robust.models.logit_bias import give_logit_bias
from lightning_robust.training.caption_check import warn_of_captions
from lightning_robust.training.chunked import encode_in_chunks
from lightning_robust.training.contrastive_losses import info_nce, siglip
from lightning_robust.training.freezing import rest_frozen_parts
from lightning_robust.training.gathering import of_all_processes, own_rows, process_count
from lightning_robust.training.gradient_checkpointing import checkpoint_blocks
from lightning_robust.training.loader_accuracy import LoaderAccuracy, arguments_of, check_countable, class_texts
from lightning_robust.training.locked_towers import check_locks, lock_towers
from lightning_robust.training.lone_rows import warn_of_lone_pair
from lightning_robust.training.optimisation import adamw_with_schedule, decay_groups
from lightning_robust.training.precision import full, full_precision
from lightning_robust.training.sharding import ShardedTraining, is_sharded, whole_state

MAX_LOGIT_SCALE = math.log(100.0)
SIGLIP_SCALE, SIGLIP_BIAS = math.log(10.0), -10.0
"""Where SigLIP starts, as in its paper (arXiv 2303.15343) and in open_clip."""


class ContrastivePretraining(ShardedTraining):
    """Train a CLIP on `(images, captions)`, from random weights or its own, and follow its zero-shot accuracy.

    Captions are texts or tokens `(n, context length)`. Every image is contrasted with the captions of all processes'
    batches, and every caption with their images; loss and gradients are those of one process with the whole batch.
    InfoNCE gathers the embeddings of both towers for it, SigLIP those of the captions: `n_total · d` numbers each,
    forwards and backwards. Lightning's `accumulate_grad_batches` averages gradients of several contrasts and enlarges
    none; `chunk_size` fits a large contrast into little memory, see `encode_in_chunks`. Whatever the Trainer's
    precision, loss and logits are computed in float32; take `bf16-mixed`, for in `bf16-true` small steps of the weights
    are lost, those of the logit scale among them. `ModelParallelStrategy` shards the blocks, see `ShardedTraining`.

    Logged tags: `train/loss` (nats, every step; mean over processes), `train/logit_scale` (factor in [1, 100]),
    `train/logit_bias` (SigLIP), `val/<loader>/accuracy` (zero-shot, in [0, 1], every validation; the texts
    are read once for it, however many monitors ask for the head) and `val/shifts/accuracy` (mean over all loaders but
    the first). With Lightning's `EMAWeightAveraging` the averaged weights are validated and exported.

    Args:
        encoder: Name of the architecture, see `models.load_encoder`.
        class_names: Classes of the validation loaders; None takes the data module's.
        templates: Prompts with `{}`; None takes the data module's.
        lr: Highest learning rate.
        betas: AdamW's decay rates.
        weight_decay: Decay of matrices; vectors have none.
        warmup_steps: Steps of the linear warm-up.
        seed: Seed of the random weights.
        export_to: Folder that receives the trained CLIP at the end of the fit, as an open_clip `local-dir:` folder; a
            relative one lies below the Trainer's `default_root_dir`.
        loss: `"infonce"`, see `info_nce`, or `"siglip"`, see `siglip`. For SigLIP an architecture without a
            `logit_bias` is given one, and starts from factor 10 and bias −10, whatever its weights.
        identical: Whether identical captions are positives of each other; False is the loss of open_clip. For SigLIP
            they would be each other's negatives; for InfoNCE it is the same loss unless the text tower has dropout.
        chunk_size: Images, and captions, of a process that are encoded at once; None encodes its whole batch.
        gradient_checkpointing: Whether the blocks of both towers are computed again instead of kept.
        lock_image: True locks the image tower, a number all but so many of its last groups, see `lock_towers`. Batch
            norm and dropout of what is locked whole are in eval mode.
        lock_text: The same for the text tower.
        pretrained: Whether to start from the encoder's own weights, as locked towers want it; without, they are warned
            about.

    Raises:
        ValueError: If the encoder is unknown or has no text tower, is to be exported and is not open_clip's, or a
            setting is out of range or has no effect on it.
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
        loss: Literal["infonce", "siglip"] = "infonce",
        identical: bool = True,
        chunk_size: int | None = None,
        gradient_checkpointing: bool = False,
        lock_image: bool | int = False,
        lock_text: bool | int = False,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if loss not in ("infonce", "siglip"):
            raise ValueError(f"loss is 'infonce' or 'siglip', not {loss!r}.")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size is at least 1, not {chunk_size}; leave it out to encode a batch at once.")
        check_locks(lock_image, lock_text)
        self.save_hyperparameters()
        loaded = load_encoder(encoder, pretrained=pretrained, seed=seed)
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
        self._prepare()
        self._config, self._folder = loaded.config, loaded.folder
        self._accuracy: LoaderAccuracy | None = None
        self._head: Tensor | None = None
        self._current = CurrentHead()
        self._captions_checked = False

    def _prepare(self) -> None:
        """Bias, locks and checkpoints, as the settings want them."""
        settings, encoder = self.hparams, self.encoder
        if settings["loss"] == "siglip" and getattr(encoder, "logit_bias", None) is None:
            give_logit_bias(encoder, SIGLIP_BIAS)
            with torch.no_grad():
                encoder.logit_scale.fill_(SIGLIP_SCALE)
        elif settings["loss"] == "infonce" and getattr(encoder, "logit_bias", None) is not None:
            encoder.logit_bias.requires_grad_(False)  # a softmax does not see it
        lock_towers(encoder, settings["lock_image"], settings["lock_text"])
        if self._locked and not settings["pretrained"]:
            rank_zero_warn("A tower is locked at random weights: pretrained=True would start from the encoder's own.")
        if settings["gradient_checkpointing"]:
            checkpoint_blocks(encoder)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; parts that are locked whole stay in eval mode."""
        super().train(mode)
        if mode and self._locked:
            rest_frozen_parts(self)
        return self

    @property
    def _locked(self) -> bool:
        return not (self.hparams["lock_image"] is False and self.hparams["lock_text"] is False)

    def on_train_start(self) -> None:
        """Put locked parts into eval mode: here, where Lightning has looked for parts that are in it by mistake."""
        if self._locked:
            self.train()

    def setup(self, stage: str) -> None:
        """Refuse now what could not be counted later."""
        super().setup(stage)
        check_countable(getattr(self.trainer, "datamodule", None))

    def forward(self, images: Tensor) -> Tensor:
        """Give the raw representations h, `(n, d)`, of preprocessed images `(n, 3, H, W)`."""
        h: Tensor = self.encoder.encode_image(images)
        return h

    def untrained_model(self) -> ContrastivePretraining:
        """Build the same module as it was before any training, as a control, on this module's device."""
        # with the texts filled in: the copy has no Trainer to ask for them
        texts = dict(zip(("class_names", "templates"), self._class_texts(), strict=True))
        start = {"pretrained": False, "lock_image": False, "lock_text": False}
        return ContrastivePretraining(**{**arguments_of(self), **texts, **start}).eval().to(self.device)

    def head_weight(self) -> Tensor:
        """Weight W of the zero-shot head that the text tower gives now, `(C, d)`."""
        return self._current(self.encoder, self.tokenizer, *self._class_texts())

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        """Contrast the images and captions of a batch."""
        self._current.forget()  # its copy of the weights is not to lie beside activations
        images, tokens = batch[0], self._tokens(batch[1])
        self._check_first(batch[1], tokens)
        if self.hparams["loss"] == "infonce":
            warn_of_lone_pair(len(tokens) * process_count())
        own = own_rows(len(images), images.device)
        h, t = self._embeddings(images, tokens)
        loss = self._contrast(h, t, tokens, own)
        self.log("train/loss", loss, batch_size=len(images), prog_bar=True, sync_dist=True)
        self.log("train/logit_scale", self.encoder.logit_scale.detach().exp(), batch_size=len(images))
        if self.hparams["loss"] == "siglip":
            self.log("train/logit_bias", self.encoder.logit_bias.detach(), batch_size=len(images))
        return loss

    def _embeddings(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        encoder, size = self.encoder, self.hparams["chunk_size"]
        h = encode_in_chunks(partial(encoder.encode_image, normalize=True), encoder.visual, images, size)
        return h, encode_in_chunks(partial(encoder.encode_text, normalize=True), encoder, tokens, size)

    def _contrast(self, h: Tensor, t: Tensor, tokens: Tensor, own: slice) -> Tensor:
        """The loss of this process's pairs within the batch of all."""
        captions = of_all_processes(tokens) if self.hparams["identical"] else None
        with full_precision(h.device):
            h, t, scale = full(h), full(t), full(self.encoder.logit_scale).exp()
            if self.hparams["loss"] == "siglip":
                return siglip(h, of_all_processes(t), scale, full(self.encoder.logit_bias), captions, own=own)
            return info_nce(of_all_processes(h), of_all_processes(t), scale, captions, own=own)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another architecture."""
        super().on_load_checkpoint(checkpoint)
        if not is_sharded(self):  # there Lightning has loaded them, strictly
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
        with full_precision(features.device):
            self._accuracy.update(dataloader_idx, full(features) @ full(self._head).T, batch[1])

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
        if self.hparams["export_to"] is not None and (self.trainer.is_global_zero or is_sharded(self)):
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
        if not (state := whole_state(self.encoder)):
            return  # the first process writes
        if "logit_bias" in state:  # a parameter that open_clip makes for this entry of the configuration
            start = {"init_logit_scale": SIGLIP_SCALE, "init_logit_bias": SIGLIP_BIAS}
            config = {**config, "model_cfg": {**start, **config["model_cfg"]}}
        save_clip_folder(path, config=config, tokenizer_files=tokenizer_files, state=state)

    def _class_texts(self) -> tuple[list[str], list[str]]:
        datamodule = None if self._trainer is None else getattr(self._trainer, "datamodule", None)
        return class_texts(datamodule, self.hparams["class_names"], self.hparams["templates"])

    def _tokens(self, captions: Any) -> Tensor:
        return captions if isinstance(captions, Tensor) else self.tokenizer(list(captions)).to(self.device)

    def _check_first(self, captions: Any, tokens: Tensor) -> None:
        if not self._captions_checked:
            warn_of_captions(self.tokenizer, None if isinstance(captions, Tensor) else list(captions), tokens)
        self._captions_checked = True


def _check_exported(encoder: str, config: Mapping[str, Any]) -> None:
    """Refuse to write a model of another library as an open_clip folder."""
    if "model_cfg" not in config:
        raise ValueError(
            f"export_to writes a folder of open_clip, and a model like {encoder!r} is none: leave export_to out and "
            f"load a checkpoint of the run as '{encoder}@FILE'."
        )
