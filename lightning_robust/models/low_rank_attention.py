"""Attention of low rank: q, k and v read their input by one product, and every matrix can be a product of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_robust.models.low_rank import check_factors

#: What a matrix becomes: A (out, k) and B (k, in), or itself (out, in).
Part = tuple[Tensor, Tensor] | Tensor


class LowRankBlocks(nn.Module):
    """Matrices that read the same input, such as q, k and v: their first factors are one product, `(Σk, in)`.

    A part that stays dense has its rows in that product and no second factor.

    Args:
        parts: By name, in the order of the output: `(A, B)`, or the dense matrix.
        bias: Of all parts one after another, or None.

    Attributes:
        first: First factors and dense matrices one below another, `(Σk, in)`.
        second_NAME: A of a part, `(out, k)`; None where it is dense.
        bias: `(Σ out,)`, or None.

    Raises:
        ValueError: If the shapes do not fit each other.

    Example:
        >>> blocks = LowRankBlocks({"q": torch.eye(2), "k": (torch.ones(2, 1), torch.ones(1, 2))}, None)
        >>> blocks(torch.tensor([[1.0, 2.0]])).tolist()
        [[1.0, 2.0, 3.0, 3.0]]
    """

    def __init__(self, parts: Mapping[str, Part], bias: Tensor | None) -> None:
        super().__init__()
        pairs = {name: part if isinstance(part, tuple) else (None, part) for name, part in parts.items()}
        self.first = nn.Parameter(torch.cat([first.detach() for _, first in pairs.values()]).contiguous())
        self._slices, row, out = dict[str, tuple[int, int, int, int]](), 0, 0
        for name, (A, first) in pairs.items():
            if A is not None:
                check_factors(A, first, None)
            width = len(first) if A is None else len(A)
            self._slices[name] = (row, row + len(first), out, out + width)
            second = None if A is None else nn.Parameter(A.detach().clone().contiguous())
            self.register_parameter(f"second_{name}", second)
            row, out = row + len(first), out + width
        if bias is not None and tuple(bias.shape) != (out,):
            raise ValueError(f"the parts give {out} numbers, so a bias has shape ({out},), not {tuple(bias.shape)}.")
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.out_features = out
        self.register_buffer("weight", self.first.detach().new_empty(0), persistent=False)

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.first.shape[1]

    def ranks(self) -> dict[str, int | None]:
        """Rank of each part; None where it is dense."""
        return {
            name: None if self._parameters[f"second_{name}"] is None else end - start
            for name, (start, end, _, _) in self._slices.items()
        }

    def split(self, x: Tensor) -> list[Tensor]:
        """Map `(…, in)` to one `(…, out)` for each part."""
        # as rows: a slice of a matrix goes into the next product as it is, bias and all; else it is copied
        inner = functional.linear(x.flatten(end_dim=-2) if x.ndim > 2 else x, self.first)
        parts = [self._second(name, inner[..., where[0] : where[1]]) for name, where in self._slices.items()]
        return [part.unflatten(0, x.shape[:-1]) for part in parts] if x.ndim > 2 else parts

    def part(self, name: str, x: Tensor) -> Tensor:
        """Map `(…, in)` by one part alone, for parts that read different inputs.

        Args:
            name: Of the part.
            x: Its input.
        """
        start, end, _, _ = self._slices[name]
        return self._second(name, functional.linear(x, self.first[start:end]))

    def _second(self, name: str, inner: Tensor) -> Tensor:
        _, _, start, end = self._slices[name]
        second, bias = self._parameters[f"second_{name}"], None if self.bias is None else self.bias[start:end]
        if second is not None:
            return functional.linear(inner, second, bias)
        return inner if bias is None else inner + bias

    def forward(self, x: Tensor) -> Tensor:
        """Map `(…, in)` to all parts one after another, `(…, Σ out)`."""
        return torch.cat(self.split(x), dim=-1)

    def extra_repr(self) -> str:
        """Sizes and ranks."""
        return f"in_features={self.in_features}, out_features={self.out_features}, ranks={self.ranks()}"


class LowRankAttention(nn.Module):
    """What `nn.MultiheadAttention` computes, with matrices of low rank; called in the same way.

    Attention itself is torch's `scaled_dot_product_attention`, in eval mode and in training; where weights are asked
    for, it is written out.

    Args:
        dense: The module in whose place it stands: heads, dropout, order of the dimensions.
        projections: `in_proj` (`LowRankBlocks` with the parts q, k, v), or `q_proj`, `k_proj` and `v_proj`, each a
            linear layer; and `out_proj`.
    """

    in_proj_bias = None  # nn.TransformerEncoderLayer looks here before it takes its fused path

    def __init__(self, dense: nn.MultiheadAttention, projections: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.head_dim = dense.embed_dim, dense.num_heads, dense.head_dim
        self.dropout, self.batch_first = dense.dropout, dense.batch_first
        for name, module in projections.items():
            self.add_module(name, module)
        self._fused = "in_proj" in projections
        self.training = dense.training

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend. Arguments and answers are those of `nn.MultiheadAttention`.

        Raises:
            ValueError: If `is_causal` is hinted at without a mask, which torch's own module refuses as well.
        """
        if is_causal and attn_mask is None:
            raise ValueError("is_causal=True says what attn_mask is like, so attn_mask belongs beside it.")
        q, k, v = (self._heads(x, query.ndim) for x in self._projected(query, key, value))
        mask = _mask(attn_mask, key_padding_mask, q, k.shape[-2])
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            mixed, weights = _written_out(q, k, v, mask, dropout)
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if query.ndim == 3 else weights.squeeze(0)
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        if query.ndim == 2:
            mixed = mixed.squeeze(0).transpose(0, 1)
        else:
            mixed = mixed.transpose(1, 2) if self.batch_first else mixed.permute(2, 0, 1, 3)
        out_proj: Any = self.out_proj
        return out_proj(mixed.flatten(-2)), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        if not self._fused:
            parts: Any = (self.q_proj, self.k_proj, self.v_proj)
            return [part(x) for part, x in zip(parts, (query, key, value), strict=True)]
        in_proj: Any = self.in_proj
        if query is key and key is value:
            found: list[Tensor] = in_proj.split(query)
            return found
        return [in_proj.part(name, x) for name, x in zip("qkv", (query, key, value), strict=True)]

    def _heads(self, x: Tensor, ndim: int) -> Tensor:
        """`(n, heads, L, width of a head)`, whatever the order of the input's dimensions."""
        x = x.unflatten(-1, (self.num_heads, -1))
        if ndim == 2:
            return x.transpose(0, 1).unsqueeze(0)
        return x.transpose(1, 2) if self.batch_first else x.permute(1, 2, 0, 3)


def _mask(attention: Tensor | None, padding: Tensor | None, q: Tensor, keys: int) -> Tensor | None:
    """Both masks as numbers to add to the scores, `(n or 1, heads or 1, L or 1, S)`."""
    n, heads, length, _ = q.shape
    whole = None
    if attention is not None:
        whole = _added(attention, q)
        whole = whole.view(n, heads, length, keys) if whole.ndim == 3 else whole
    if padding is not None:
        columns = _added(padding, q).view(-1, 1, 1, keys)
        whole = columns if whole is None else whole + columns
    return whole


def _added(mask: Tensor, q: Tensor) -> Tensor:
    if mask.dtype is not torch.bool:
        return mask.to(q.dtype)
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill_(mask, float("-inf"))


def _written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> tuple[Tensor, Tensor]:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    weights = (scores if mask is None else scores + mask).softmax(dim=-1)
    weights = functional.dropout(weights, dropout) if dropout > 0 else weights
    return weights @ v, weights
