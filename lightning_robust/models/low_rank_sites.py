"""Where the matrices of a network are: layers that can become a product of two, and why others cannot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from open_clip.modified_resnet import AttentionPool2d
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from lightning_robust.models.low_rank import LowRankConv2d, LowRankLinear
from lightning_robust.models.low_rank_attention import LowRankBlocks

_FUSED = ("qkv", "to_qkv")
_PARAMETRISED = "part of a parametrised weight"
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True, eq=False)
class Piece:
    """One matrix of a site.

    Attributes:
        weight: `(out, in)`, convolutions flattened; a view of the parameter.
        bias: `(out,)`, likewise; None where there is none.
        part: What it is in its site: `q`, `k`, `v`, `out`, or `weight` where it is the only one.
        layer: Name of the module that multiplies by it once the model is opened, see `opened`.
    """

    weight: Tensor
    bias: Tensor | None
    part: str
    layer: str


@dataclass(frozen=True, eq=False)
class Site:
    """A module that is replaced as one.

    Attributes:
        module: Its name.
        kind: Which of the forms it has.
        pieces: Its matrices by name.
    """

    module: str
    kind: Literal["linear", "qkv", "conv", "attention", "pool", "projection"]
    pieces: dict[str, Piece]


@dataclass
class Sites:
    """What a model holds.

    Attributes:
        found: Its sites, in the order of its modules.
        left: Why other parameters of two dimensions or more stay as they are, by name.
    """

    found: list[Site] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def find_sites(model: nn.Module) -> Sites:
    """Judge every module of a model.

    Args:
        model: Any network.

    Returns:
        Each parameter of two dimensions or more is in a site or has a reason.
    """
    sites, inside = Sites(), set[str]()
    modules = dict(model.named_modules(remove_duplicate=False))
    uses = Counter(id(parameter) for owner in modules.values() for parameter in owner._parameters.values())
    for name, module in modules.items():
        if name in inside:
            continue
        site, reason = _judged(name, module, modules.get(name.rpartition(".")[0]))
        owners = {name: module}
        if isinstance(module, nn.MultiheadAttention | AttentionPool2d):  # it reads the weights of the layers in it
            owners |= {joined(name, child): inner for child, inner in module.named_modules() if child}
            inside |= owners.keys()
        own = {joined(at, each): p for at, owner in owners.items() for each, p in owner._parameters.items()}
        if site is not None and any(p is not None and uses[id(p)] > 1 for p in own.values()):
            site, reason = None, "tied: another layer has the same parameter"
        covered = set() if site is None else {matrix.partition("[")[0] for matrix in site.pieces}
        sites.found += [] if site is None else [site]
        for full, parameter in own.items():
            if parameter is not None and parameter.ndim >= 2 and full not in covered:
                parametrised = ".parametrizations." in f".{full}"
                sites.left[full] = _PARAMETRISED if parametrised else reason or _reason(module)
    return sites


def joined(prefix: str, name: str) -> str:
    """A name below another; below the model itself it is the name."""
    return f"{prefix}.{name}" if prefix else name


def _judged(name: str, module: nn.Module, parent: nn.Module | None) -> tuple[Site | None, str]:
    if isinstance(module, nn.MultiheadAttention):
        return _attention(name, module)
    if isinstance(module, AttentionPool2d):
        return _pool(name, module), ""
    proj = module._parameters.get("proj")
    if type(module) is VisionTransformer and proj is not None:
        piece = Piece(proj.detach().T, None, "weight", joined(name, "projection"))
        return Site(name, "projection", {joined(name, "proj"): piece}), ""
    own = isinstance(module, nn.Linear | nn.Conv2d)
    if own and type(module).forward not in (nn.Linear.forward, nn.Conv2d.forward):
        return None, f"its layer, a {type(module).__name__}, does more than multiply"
    if own and (hasattr(module, "parametrizations") or not isinstance(module._parameters.get("weight"), nn.Parameter)):
        return None, _PARAMETRISED
    if isinstance(module, nn.Conv2d):
        if module.groups > 1:
            return None, "the weight of a grouped convolution, which is block diagonal"
        piece = Piece(module.weight.detach().flatten(1), _plain(module.bias), "weight", name)
        return Site(name, "conv", {joined(name, "weight"): piece}), ""
    if isinstance(module, nn.Linear):
        return _linear(name, module, parent), ""
    return None, ""


def _linear(name: str, module: nn.Linear, parent: nn.Module | None) -> Site:
    fused = name.rpartition(".")[2] in _FUSED and module.out_features % 3 == 0
    # timm: q, k and v head by head, or of different widths; as one matrix they can be factored all the same
    if not fused or hasattr(parent, "key_dim") or getattr(parent, "head_first", False) is True:
        piece = Piece(module.weight.detach(), _plain(module.bias), "weight", name)
        return Site(name, "linear", {joined(name, "weight"): piece})
    return Site(name, "qkv", _cut(joined(name, "weight"), module.weight, module.bias, [name] * 3))


def _attention(name: str, module: nn.MultiheadAttention) -> tuple[Site | None, str]:
    if module.bias_k is not None or module.add_zero_attn:
        return None, "of an attention with learnt or empty keys beside its input's"
    layers = [joined(name, f"{part}_proj") for part in "qkv"]
    if module._qkv_same_embed_dim:
        pieces = _cut(joined(name, "in_proj_weight"), module.in_proj_weight, module.in_proj_bias, layers)
    else:
        own: Any = module
        biases = [None] * 3 if module.in_proj_bias is None else list(module.in_proj_bias.detach().chunk(3))
        weights = (own.q_proj_weight, own.k_proj_weight, own.v_proj_weight)
        pieces = {
            joined(name, f"{part}_proj_weight"): Piece(weight.detach(), bias, part, layer)
            for part, weight, bias, layer in zip("qkv", weights, biases, layers, strict=True)
        }
    out, layer = module.out_proj, joined(name, "out_proj")
    pieces[joined(layer, "weight")] = Piece(out.weight.detach(), _plain(out.bias), "out", layer)
    return Site(name, "attention", pieces), ""


def _pool(name: str, module: Any) -> Site:
    layers = {"q": module.q_proj, "k": module.k_proj, "v": module.v_proj, "out": module.c_proj}
    places = {part: joined(name, f"{'c' if part == 'out' else part}_proj") for part in layers}
    pieces = {
        joined(places[part], "weight"): Piece(layer.weight.detach(), _plain(layer.bias), part, places[part])
        for part, layer in layers.items()
    }
    return Site(name, "pool", pieces)


def _cut(name: str, weight: Tensor, bias: Tensor | None, layers: list[str]) -> dict[str, Piece]:
    biases = [None] * 3 if bias is None else list(bias.detach().chunk(3))
    return {
        f"{name}[{part}]": Piece(rows, each, part, layer)
        for part, rows, each, layer in zip("qkv", weight.detach().chunk(3), biases, layers, strict=True)
    }


def _plain(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


def _reason(module: nn.Module) -> str:
    kind = type(module).__name__
    if isinstance(module, LowRankLinear | LowRankConv2d | LowRankBlocks):
        return "a factor already"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "an embedding, which is looked up and multiplies nothing"
    if isinstance(module, _NORMS):
        return "the scale of a norm"
    if isinstance(module, _ConvNd):
        return f"of a {kind}; convolutions of images (Conv2d) can be factored"
    return f"a parameter that a {kind} uses by itself: a position, a token, or a matrix outside of any layer"
