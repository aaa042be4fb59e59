"""SigLIP's bias on the logits, for CLIPs whose architecture has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def give_logit_bias(model: nn.Module, value: float) -> None:
    """Give a CLIP the parameter that open_clip has where the configuration has `init_logit_bias`.

    Args:
        model: A CLIP with `logit_scale`; one that has a bias keeps it.
        value: What it starts from.
    """
    clip: Any = model
    if getattr(clip, "logit_bias", None) is None:
        clip.logit_bias = nn.Parameter(torch.full_like(clip.logit_scale.detach(), value))


def give_logit_bias_of(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Let a CLIP take the weights of one that was trained with SigLIP's loss: they have a bias, and it has none.

    Args:
        model: A CLIP, or anything else, which is left alone.
        state: Entries under its names.
    """
    if "logit_bias" in state and hasattr(model, "logit_scale"):
        give_logit_bias(model, 0.0)
