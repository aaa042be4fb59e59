"""open_clip's towers that multiply by a weight outside of its layer: attention pooling, and the ViT's projection."""

from __future__ import annotations

from collections.abc import Mapping
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
