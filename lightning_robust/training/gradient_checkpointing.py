"""Gradient checkpointing: the blocks of a CLIP's towers keep their inputs alone, and are computed again."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def checkpoint_blocks(encoder: nn.Module) -> None:
    """Let every block of both towers forget its activations, and compute them again for its gradient.

    Memory falls from all activations to one per block and those of one block, for one more forward pass (Chen et al.
    2016, arXiv 1604.06174). The gradients stay the same.

    Args:
        encoder: A CLIP of `models.load_encoder`.

    Raises:
        ValueError: If the model has batch norm, whose running statistics would move twice, or a tower cannot do it.
    """
    if any(isinstance(part, _BatchNorm) for part in encoder.modules()):
        raise ValueError(
            "gradient_checkpointing would move the running statistics of this model's batch norm twice a step: leave "
            "it out and take chunk_size, which saves memory too."
        )
    parts: Any = encoder
    if hasattr(parts, "set_grad_checkpointing"):
        parts.set_grad_checkpointing()
        towers = [parts.visual, getattr(parts, "text", None) or parts.transformer]
    else:
        towers = [parts.visual.vision_model, parts.text_model]
        for tower in towers:
            # the first is its name from transformers 5.x on, where the other warns
            enable = getattr(tower, "activation_checkpointing_enable", None) or tower.gradient_checkpointing_enable
            enable({"use_reentrant": False})
    # open_clip passes over a tower that cannot, with a line in a log or none
    if not all(_checkpoints(tower) for tower in towers):
        raise ValueError("gradient_checkpointing has no effect on a tower of this model: take chunk_size.")


def _checkpoints(tower: nn.Module) -> bool:
    names = ("grad_checkpointing", "gradient_checkpointing")  # open_clip and timm, transformers
    return any(getattr(part, name, False) is True for part in tower.modules() for name in names)
