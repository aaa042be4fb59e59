"""An image classifier: the image tower of a CLIP, normalisation, and a linear head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Normalize(nn.Module):
    """Scale every row to unit length. A module, so that hooks can name what the head reads."""

    def forward(self, h: Tensor) -> Tensor:
        """Normalise.

        Args:
            h: Representations, `(n, d)`.

        Returns:
            Rows of unit length, `(n, d)`.
        """
        return functional.normalize(h, dim=-1)


class ImageClassifier(nn.Module):
    """Encoder and linear head, as in Wise-FT (Wortsman et al. 2022, arXiv 2109.01903): logits `W · h/‖h‖`.

    Names for hooks: `encoder.visual` gives the raw representation h, `normalize` what the head reads, `head` the
    logits. The image tower and the head can be trained; text tower and logit scale are frozen (the scale sits in the
    zero-shot head already).

    Args:
        encoder: A whole CLIP with `encode_image` and its image tower at `visual`.
        head: The head's weight W, `(C, d)`; copied.

    Raises:
        ValueError: If the head is not a matrix, or the encoder has no image tower.

    Example:
        >>> from lightning_robust.models.encoders import load_encoder
        >>> model = ImageClassifier(load_encoder("RN50", pretrained=False).model, torch.zeros(5, 1024))
        >>> model(torch.rand(2, 3, 224, 224)).shape
        torch.Size([2, 5])
    """

    def __init__(self, encoder: nn.Module, head: Tensor) -> None:
        super().__init__()
        if head.ndim != 2:
            raise ValueError(f"A head is a matrix (classes, width), not of shape {tuple(head.shape)}.")
        if not isinstance(getattr(encoder, "visual", None), nn.Module):
            raise ValueError(f"{type(encoder).__name__} has no image tower at 'visual', as an open_clip model has.")
        self.encoder: Any = encoder
        self.normalize = Normalize()
        # skip_init: the weight is copied, so nothing is drawn from the caller's generator
        self.head = nn.utils.skip_init(
            nn.Linear, head.shape[1], head.shape[0], bias=False, device=head.device, dtype=head.dtype
        )
        with torch.no_grad():
            self.head.weight.copy_(head)
        self.encoder.requires_grad_(False)
        self.encoder.visual.requires_grad_(True)

    def encode(self, images: Tensor) -> Tensor:
        """Compute representations.

        Args:
            images: Preprocessed images, `(n, 3, H, W)`.

        Returns:
            The raw h, `(n, d)`, not normalised.
        """
        h: Tensor = self.encoder.encode_image(images)
        return h

    def forward(self, images: Tensor) -> Tensor:
        """Classify.

        Args:
            images: Preprocessed images, `(n, 3, H, W)`.

        Returns:
            Logits, `(n, C)`, in the precision of the head's weight.
        """
        h = self.normalize(self.encode(images))
        # whatever is under autocast: logits of a hundred have errors of 0.2 in bfloat16, so that the largest tie
        with torch.autocast(h.device.type, enabled=False):
            logits: Tensor = self.head(h.to(self.head.weight.dtype))
        return logits

    def clip_state_dict(self) -> dict[str, Tensor]:
        """Give the weights of the whole CLIP under open_clip's keys; they load strictly in plain open_clip."""
        return split_classifier_state(self.state_dict())[0]

    def split_state(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Split a state of this classifier, an interpolated one too, into CLIP and head: what a file of each holds.

        Args:
            state: As `state_dict()` gives it.

        Returns:
            As `split_classifier_state`.

        Raises:
            ValueError: If an entry belongs to neither.
        """
        return split_classifier_state(state)

    def head_state_dict(self) -> dict[str, Tensor]:
        """Give the head under the key of a plain `nn.Linear(d, C, bias=False)`: `weight`."""
        return split_classifier_state(self.state_dict())[1]


def split_classifier_state(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split the state dict of an `ImageClassifier`, an interpolated one too, into CLIP and head.

    Args:
        state: Entries `encoder.…` and `head.…`.

    Returns:
        The CLIP's entries under open_clip's keys, and the head's under those of `nn.Linear`.

    Raises:
        ValueError: If an entry belongs to neither, or there is no head.

    Example:
        >>> split_classifier_state({"encoder.logit_scale": torch.ones(()), "head.weight": torch.ones(2, 3)})[1].keys()
        dict_keys(['weight'])
    """
    clip = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
    if not head or len(clip) + len(head) != len(state):
        strange = [name for name in state if not name.startswith(("encoder.", "head."))]
        raise ValueError(f"Not the state of an ImageClassifier: {strange[:5] or 'there is no head'}.")
    return clip, head
