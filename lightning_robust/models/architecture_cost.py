"""What an image costs a network that is known by its name: counted on shapes alone, without memory for its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from torch import Tensor, nn

from lightning_robust.models.cost import forward_flops, parameter_count
from lightning_robust.models.encoder_base import quiet_loading
from lightning_robust.models.encoder_file import split_file
from lightning_robust.models.encoder_folder import HUB, LOCAL
from lightning_robust.models.encoder_timm import TIMM, check_timm_name
from lightning_robust.models.encoder_transformers import TRANSFORMERS
from lightning_robust.models.encoders import load_encoder, unknown_encoder
from lightning_robust.models.networks import UNTRAINED

__all__ = ["ArchitectureCost", "architecture_cost"]


@dataclass(frozen=True)
class ArchitectureCost:
    """Of a forward pass, in floating-point operations: a multiplication and an addition count as two.

    Attributes:
        image: For one image.
        text: For one text; 0 for a network without a text tower.
        parameters: Entries of all parameters.
    """

    image: int
    text: int
    parameters: int


def architecture_cost(name: str) -> ArchitectureCost:
    """What the architecture of a name costs (`models.cost.forward_flops`).

    Args:
        name: As `load_encoder` takes it, with weights or without; of a file of a run nothing is known here.

    Raises:
        ValueError: If there is no such architecture, or it cannot be known without its files.

    Example:
        >>> architecture_cost("scenes-clip").parameters
        1425881
    """
    base, _ = split_file(name.removeprefix(UNTRAINED))
    if Path(base).suffix in (".safetensors", ".ckpt") or base.startswith((HUB, TRANSFORMERS)):
        raise ValueError(f"the architecture of {name} is not known without opening its files")
    with quiet_loading(), _on_shapes(base):
        model, size = _network(base)
        device = next(model.parameters()).device
        image = forward_flops(getattr(model, "visual", model), torch.zeros(1, 3, *size, device=device))
        return ArchitectureCost(image, _text_flops(model, device), parameter_count(model))


@contextmanager
def _on_shapes(base: str) -> Iterator[None]:
    """Known architectures get tensors without data; folders are small or read by their own loader."""
    if base.startswith(TIMM) or base.partition("/")[0] in open_clip.list_models():
        with torch.device("meta"):
            yield
    else:
        yield


def _network(base: str) -> tuple[nn.Module, tuple[int, int]]:
    if base.startswith(TIMM):
        check_timm_name(base, False)
        network: Any = timm.create_model(base.removeprefix(TIMM))
        return network, tuple(network.pretrained_cfg["input_size"][1:])
    architecture = base.partition("/")[0]
    if architecture in open_clip.list_models():
        model: Any = open_clip.create_model(architecture, pretrained_text=False, device="meta")
    elif base.startswith(LOCAL) or "/" not in base:
        model = load_encoder(base, pretrained=False).model
    else:
        raise ValueError(unknown_encoder(base))
    size = model.visual.image_size
    return model, (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _text_flops(model: nn.Module, device: torch.device) -> int:
    if not hasattr(model, "encode_text"):
        return 0
    length = int(getattr(model, "context_length", 77))
    return forward_flops(_Text(model), torch.zeros(1, length, dtype=torch.long, device=device))


class _Text(nn.Module):
    """The text tower as a module that is called."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed tokens."""
        found: Tensor = self.model.encode_text(tokens)
        return found
