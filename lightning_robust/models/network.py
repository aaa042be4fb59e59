"""An image network with what measuring it needs, and where its stages or blocks are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

_STAGES = ("layer1", "layer2", "layer3", "layer4")
_STACKS = (
    "transformer.resblocks",
    "blocks",
    "stages",
    "layers",
    "features",
    "trunk.blocks",  # timm inside open_clip
    "trunk.stages",
    "vision_model.encoder.layers",  # transformers
)


@dataclass(frozen=True)
class Network:
    """An image network with what measuring it needs.

    Attributes:
        name: The name it was asked by.
        model: In eval mode, on the CPU; `model(images)` runs it on `(n, 3, H, W)`.
        transform: Its own evaluation preprocessing, from a PIL image to a `(3, H, W)` tensor.
        representation_layer: Layer string of h, what the head reads before it is normalised.
        blocks: Layer strings of its stages or blocks, in order.
        head: Weight W of the linear head, `(C, d)`; None where there is none.
        head_layer: Name of the head's module; likewise.
        unit_norm: Whether h is scaled to unit length before the head.
        checkpoint_hash: SHA-256 of the weights file, or of the state dict where there is no single file.
        origin: Where the weights come from, in words.
        class_names: What the classes of its own head are called; None where nothing says so.
        average: The entry of the weights file whose averages were taken, for one file can hold two models; else empty.
        untrained: Whether the weights are random: the control, whose batch norms have no statistics before
            `models.calibrate_untrained` gives it some.
        architecture: What builds its image network without weights: `Encoder.config` of its encoder. Empty where it is
            not known.
        ranks: Of a compressed network, as `models.low_rank_structure.ranks_of` gives them; empty for a dense one.
    """

    name: str
    model: nn.Module
    transform: Callable[[Any], Tensor]
    representation_layer: str
    blocks: tuple[str, ...]
    head: Tensor | None
    head_layer: str | None
    unit_norm: bool
    checkpoint_hash: str
    origin: str
    class_names: tuple[str, ...] | None = None
    average: str = ""
    untrained: bool = False
    architecture: Mapping[str, Any] = field(default_factory=dict)
    ranks: Mapping[str, int | None] = field(default_factory=dict)


def average_words(average: str) -> str:
    """What is added to the origin of a network whose weights are averages over a training.

    Args:
        average: As `Network.average`.

    Example:
        >>> average_words("model_ema"), average_words("")
        (', averaged weights (model_ema)', '')
    """
    return f", averaged weights ({average})" if average else ""


def blocks_of(model: nn.Module, below: str) -> tuple[str, ...]:
    """Layer strings of the stages of a ResNet or the blocks of a transformer, in order.

    Args:
        model: The network.
        below: Name of the submodule that holds them; empty for the network itself.

    Returns:
        Their names from the network on; empty where the architecture is of no known form.
    """
    start = f"{below}." if below else ""
    tower = dict(model.get_submodule(below).named_modules())
    if all(stage in tower for stage in _STAGES):
        return tuple(f"{start}{stage}" for stage in _STAGES)
    for stack in _STACKS:
        found = tower.get(stack)
        if isinstance(found, nn.Sequential | nn.ModuleList) and len(found):
            return tuple(f"{start}{stack}.{name}" for name, _ in found.named_children())
    return ()


class Embedding(nn.Module):
    """A CLIP whose forward gives the raw image embedding, under the layer names of `ImageClassifier`."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Give h, `(n, d)`."""
        h: Tensor = self.encoder.encode_image(images)
        return h
