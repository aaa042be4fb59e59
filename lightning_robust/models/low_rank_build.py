"""Replacing layers of a network by factored ones, and opening those that hide their matrices."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_robust.models.encoder_base import near_names
from lightning_robust.models.low_rank import LowRankConv2d, LowRankLinear
from lightning_robust.models.low_rank_attention import LowRankAttention, LowRankBlocks, Part
from lightning_robust.models.low_rank_pool import LowRankAttentionPool, project_by_layer
from lightning_robust.models.low_rank_sites import Piece, Site, find_sites

_PROJECTIONS = {"q": "q_proj", "k": "k_proj", "v": "v_proj"}


def opened(model: nn.Module) -> nn.Module:
    """A copy in which every matrix has a layer of its own, so that hooks see what it reads.

    `nn.MultiheadAttention`, open_clip's `AttentionPool2d` and the projection of its vision transformer use their
    weights without calling a layer; here q, k, v and out are `nn.Linear`s, called. It computes the same as the model
    (to rounding) and shares its parameters and buffers, so it is for looking, in eval mode, and not for training.

    Args:
        model: The network; not changed.

    Example:
        >>> attention = nn.MultiheadAttention(8, 2)
        >>> opened(attention).q_proj
        Linear(in_features=8, out_features=8, bias=True)
    """
    shared = {id(each): each for each in [*model.parameters(), *model.buffers()]}
    copied = copy.deepcopy(model, shared)
    for site in find_sites(copied).found:
        if site.kind in ("attention", "pool", "projection"):
            parts: dict[str, Part] = {name: piece.weight for name, piece in site.pieces.items()}
            copied = replaced(copied, site, parts, {n: p.bias for n, p in site.pieces.items()}, fuse=False)
    return copied


def factorise(
    model: nn.Module,
    factors: Mapping[str, tuple[Tensor, Tensor] | None],
    biases: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A copy of a network in which matrices are products of two.

    Linear layers become `LowRankLinear` (timm's fused q, k, v `LowRankBlocks`), convolutions `LowRankConv2d`,
    `nn.MultiheadAttention` `LowRankAttention`, open_clip's attention pooling `LowRankAttentionPool`. Layers keep their
    names and modes. A layer without a factor or a new bias stays what it is, bit by bit.

    Args:
        model: The dense network; not changed.
        factors: By the names that `matrices` gives, `(A, B)` with A `(rows, k)` and B `(k, columns)`; None, or no
            entry, for what stays dense.
        biases: By the same names, a bias in place of the layer's own, also where it has none.

    Returns:
        The copy; its factors are parameters that train wherever the dense weight does.

    Raises:
        ValueError: If a name is none of the model's, or shapes do not fit.

    Example:
        >>> dense = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> factorise(dense, {"0.weight": (torch.ones(4, 1), torch.ones(1, 6)), "2.weight": None})[0]
        LowRankLinear(in_features=6, out_features=4, rank=1, bias=True)
    """
    biases = biases or {}
    sites = [site for site in find_sites(model).found if any(n in factors or n in biases for n in site.pieces)]
    known = {name: piece for site in find_sites(model).found for name, piece in site.pieces.items()}
    for name in [*factors, *biases]:
        if name not in known:
            raise ValueError(
                f"the model has no matrix {name!r}; near names: {near_names(name, list(known)) or 'none'}."
            )
    _check_shapes(known, factors, biases)
    copied = copy.deepcopy(model)
    for site in find_sites(copied).found if sites else ():
        chosen = {name: factors.get(name) for name in site.pieces}
        if all(pair is None for pair in chosen.values()) and not any(name in biases for name in chosen):
            continue
        parts: dict[str, Part] = {n: pair or site.pieces[n].weight for n, pair in chosen.items()}
        own = {name: biases.get(name, piece.bias) for name, piece in site.pieces.items()}
        copied = replaced(copied, site, parts, own, fuse=True)
    return copied


def _check_shapes(
    known: Mapping[str, Piece],
    factors: Mapping[str, tuple[Tensor, Tensor] | None],
    biases: Mapping[str, Tensor],
) -> None:
    for name, pair in factors.items():
        rows, columns = known[name].weight.shape
        if pair is not None and not (pair[0].shape == (rows, pair[1].shape[0]) and pair[1].shape[1] == columns):
            found = " and ".join(str(tuple(each.shape)) for each in pair)
            raise ValueError(
                f"{name} is ({rows}, {columns}): its factors are A ({rows}, k) and B (k, {columns}), not {found}."
            )
    for name, bias in biases.items():
        if bias.shape != (rows := known[name].weight.shape[0],):
            raise ValueError(f"{name} gives {rows} numbers, so its bias has shape ({rows},), not {tuple(bias.shape)}.")


def replaced(
    model: nn.Module, site: Site, parts: Mapping[str, Part], biases: Mapping[str, Tensor | None], *, fuse: bool
) -> nn.Module:
    """Put what a site becomes into a model.

    Args:
        model: The network; changed in place, and given back, for a site can be all of it.
        site: One of its own.
        parts: What each matrix of the site becomes, by name.
        biases: What its bias becomes, likewise.
        fuse: Whether q, k and v become one product.
    """
    old = model.get_submodule(site.module)
    trains = next((p.requires_grad for p in old.parameters()), True)
    like = next(iter(site.pieces.values())).weight
    # by what each is in its site
    part = {piece.part: _like(parts[name], like, fuse) for name, piece in site.pieces.items()}
    bias = {piece.part: None if (b := biases[n]) is None else b.to(like, copy=fuse) for n, piece in site.pieces.items()}
    if site.kind == "projection":
        project_by_layer(old, _layer(part["weight"], bias["weight"]).train(old.training).requires_grad_(trains))
        return model
    new = _built(site, old, part, bias, fuse).train(old.training)
    for name, parameter in new.named_parameters():
        if name != "positional_embedding":
            parameter.requires_grad_(trains)
    if not site.module:
        return new
    parent, _, child = site.module.rpartition(".")
    model.get_submodule(parent)._modules[child] = new
    return model


def _built(site: Site, old: Any, part: Mapping[str, Part], bias: Mapping[str, Tensor | None], fuse: bool) -> nn.Module:
    if site.kind == "conv":
        return _convolution(old, part["weight"], bias["weight"])
    if site.kind == "linear":
        return _layer(part["weight"], bias["weight"])
    if site.kind == "qkv":
        return LowRankBlocks({each: part[each] for each in "qkv"}, _joined(part, bias, "qkv"))
    apart = {each: _layer(part[each], bias[each]) for each in part}
    out = {"c_proj" if site.kind == "pool" else "out_proj": apart.pop("out")}
    if site.kind == "pool":
        blocks = {"kv_proj": LowRankBlocks({each: part[each] for each in "kv"}, _joined(part, bias, "kv"))}
        inner = {"q_proj": apart["q"], **blocks} if fuse else {_PROJECTIONS[each]: apart[each] for each in "qkv"}
        return LowRankAttentionPool(old, {**inner, **out})
    if fuse and old._qkv_same_embed_dim:
        in_proj = LowRankBlocks({each: part[each] for each in "qkv"}, _joined(part, bias, "qkv"))
        return LowRankAttention(old, {"in_proj": in_proj, **out})
    return LowRankAttention(old, {**{_PROJECTIONS[each]: apart[each] for each in "qkv"}, **out})


def _like(part: Part, like: Tensor, own: bool) -> Part:
    if isinstance(part, tuple):
        return part[0].to(like), part[1].to(like)
    return part.clone() if own else part  # views of one parameter become parameters of their own


def _layer(part: Part, bias: Tensor | None) -> nn.Module:
    if isinstance(part, tuple):
        return LowRankLinear(*part, bias)
    layer = nn.Linear(part.shape[1], part.shape[0], bias=bias is not None, device="meta")  # nothing is drawn
    layer.weight = nn.Parameter(part)
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias))
    return layer


def _convolution(old: nn.Conv2d, part: Part, bias: Tensor | None) -> nn.Module:
    if isinstance(part, tuple):
        return LowRankConv2d(*part, old, bias)
    layer = copy.deepcopy(old)
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias))
    return layer


def _joined(part: Mapping[str, Part], bias: Mapping[str, Tensor | None], names: str) -> Tensor | None:
    """One bias for several parts: zeros where one has none."""
    if all(bias[each] is None for each in names):
        return None
    return torch.cat([_zeros(part[each]) if (b := bias[each]) is None else b for each in names])


def _zeros(part: Part) -> Tensor:
    A = part[0] if isinstance(part, tuple) else part
    return A.new_zeros(len(A))
