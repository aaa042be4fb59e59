"""open_clip's towers that multiply by a weight outside of its layer: attention pooling, and the ViT's projection."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.modified_resnet import AttentionPool2d
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional


class LowRankAttentionPool(nn.Module):
    """What open_clip's `AttentionPool2d` computes, with matrices of low rank.

    The pooled vector is the answer at the mean of all positions, so the query is computed there alone, where the dense
    module computes it at every position and drops the rest.

    Args:
        dense: The module in whose place it stands.
        projections: `q_proj`, `c_proj`, and `kv_proj` (`LowRankBlocks` with the parts k and v) or `k_proj`, `v_proj`.
    """

    def __init__(self, dense: AttentionPool2d, projections: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.positional_embedding = dense.positional_embedding
        self.num_heads: int = dense.num_heads
        for name, module in projections.items():
            self.add_module(name, module)
        self._fused = "kv_proj" in projections

    def forward(self, x: Tensor) -> Tensor:
        """Pool `(n, channels, H, W)` to `(n, d)`."""
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding.to(x.dtype)
        layers: Any = self
        q = layers.q_proj(x[:, :1])
        k, v = layers.kv_proj.split(x) if self._fused else (layers.k_proj(x), layers.v_proj(x))
        q, k, v = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (q, k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        h: Tensor = layers.c_proj(mixed.transpose(1, 2).flatten(1))
        return h


class LowRankVisionTransformer(VisionTransformer):
    """open_clip's vision transformer whose last step, `pooled @ proj`, is a layer: `projection`.

    Made of a `VisionTransformer` by `project_by_layer`, never by itself.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute h, `(n, d)`, and the tokens where the tower gives those too."""
        found = super().forward(x)
        projection: Any = self.projection
        return (projection(found[0]), found[1]) if isinstance(found, tuple) else projection(found)


def project_by_layer(visual: VisionTransformer, projection: nn.Module) -> None:
    """Make a layer of the projection of a vision transformer, in place.

    Args:
        visual: The tower; its parameter `proj` becomes None.
        projection: The layer.
    """
    visual.proj = None
    visual.projection = projection
    visual.__class__ = LowRankVisionTransformer


@dataclass(frozen=True)
class PoolOfOnePlace:
    """An attention pooling over one place and the mean of that same place.

    Its two tokens are `x + p₀` and `x + p₁`: they differ by their positions alone. So queries and keys can do no more
    than weigh `p₀` against `p₁`, and all that they move in each head's answer lies along one line, `W_v (p₀ - p₁)`.

    Attributes:
        name: Of the module.
        idle: Entries of its query and key projections and of their biases.
    """

    name: str
    idle: int


def pools_of_one_place(model: nn.Module, positions: Mapping[str, int | None]) -> list[PoolOfOnePlace]:
    """Find the attention poolings of a network whose queries and keys have next to nothing to do.

    Args:
        model: The network.
        positions: By matrix, how often one image's forward multiplies by it (`MatrixOfLayer.positions`).

    Returns:
        The `AttentionPool2d` with at most two rows of positions that an image goes through, in order.
    """
    found = []
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        seen = positions.get(f"{prefix}k_proj.weight")
        if isinstance(module, AttentionPool2d) and seen is not None and len(module.positional_embedding) <= 2 >= seen:
            layers = (module.q_proj, module.k_proj)
            found.append(PoolOfOnePlace(name, sum(p.numel() for layer in layers for p in layer.parameters())))
    return found


def without_attention(model: nn.Module, pools: Sequence[PoolOfOnePlace]) -> nn.Module:
    """A copy of a network with the queries and keys of some poolings set to zero: they mix their tokens evenly.

    Args:
        model: The network.
        pools: Which.
    """
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for pool in pools:
            module: Any = copied.get_submodule(pool.name)
            for parameter in (*module.q_proj.parameters(), *module.k_proj.parameters()):
                parameter.zero_()
    return copied
