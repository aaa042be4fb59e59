"""The model of a run under the names that its LightningModule has, with the weights of one step after another."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.cli.probe_steps_files import StepFile
from lightning_robust.errors import UserError, from_user
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.encoders import Encoder
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.logit_bias import give_logit_bias_of
from lightning_robust.models.zero_shot import zero_shot_head

__all__ = ["RunModel"]

Texts = tuple[Sequence[str], Sequence[str]]
"""Class names and prompts of a zero-shot head."""


class RunModel(nn.Module):
    """A CLIP at `encoder`, or a classifier at `model`, as in the trainings of this package: monitors find their layers.

    Args:
        encoder: Of the run's architecture; its module is filled.
        first: The checkpoint whose form all others have.
        texts: Of the zero-shot head, where no head lies beside the checkpoints; None leaves a CLIP without one.

    Raises:
        UserError: If the checkpoint is of another architecture.

    Attributes:
        representation_layer: The layer whose output is h.
        head_weight: Gives the weight W of the head at the step taken last, `(C, d)`; not there without a head.
    """

    head_weight: Callable[[], Tensor]

    def __init__(self, encoder: Encoder, first: StepFile, texts: Texts | None) -> None:
        super().__init__()
        state, W = first.weights()
        # supervised pretraining has no text tower
        alone = all(name.startswith("visual.") for name in state)
        self._tokenizer, self._texts = encoder.tokenizer, texts if W is None else None
        tower: Any = ImageTower(encoder.model.get_submodule("visual")) if alone else encoder.model
        give_logit_bias_of(tower, state)
        if W is None:
            self.encoder, self.representation_layer = tower, "encoder.visual"
        else:
            if W.shape[1] != encoder.embed_dim:
                raise UserError(
                    f"{first.head} reads {W.shape[1]} features and {encoder.name!r} gives {encoder.embed_dim}: it is "
                    "the head of another model"
                )
            self.model, self.representation_layer = ImageClassifier(tower, W), "model.encoder.visual"
        self._head: Tensor | None = None
        if W is not None or texts is not None:
            self.head_weight = self._weight
        # the layout of the convolutions in training, and with it every rounding
        self.eval().to(memory_format=torch.channels_last)

    @property
    def is_classifier(self) -> bool:
        """Whether it has a head of its own."""
        return "model" in self._modules

    @property
    def tower(self) -> Any:
        """What the checkpoints hold."""
        return self.model.encoder if self.is_classifier else self.encoder

    def take(self, file: StepFile) -> None:
        """Take over the weights of a step.

        Args:
            file: Its checkpoint.

        Raises:
            UserError: If it cannot be read or does not fit, or its text tower tells classes not apart.
        """
        state, W = file.weights()
        try:
            self.tower.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(
                f"{file.path} does not hold the weights of the encoder that the run's config names"
            ) from error
        if W is not None:
            with torch.no_grad():
                self.model.head.weight.copy_(W)
        elif self._texts is not None:
            with from_user(ValueError):
                self._head = zero_shot_head(self.encoder, self._tokenizer, *self._texts)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a classifier, h of a CLIP."""
        found: Tensor = self.model(images) if self.is_classifier else self.encoder.encode_image(images)
        return found

    def _weight(self) -> Tensor:
        if self.is_classifier:
            weight: Tensor = self.model.head.weight
            return weight.detach()
        if self._head is None:
            raise UserError("take a checkpoint first: the head is made by its text tower")
        return self._head
