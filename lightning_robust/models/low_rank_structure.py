"""Which matrices of a network are products of two, and the same structure made again without its weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from lightning_robust.models.encoder_base import near_names
from lightning_robust.models.low_rank import LowRankConv2d, LowRankLinear
from lightning_robust.models.low_rank_attention import LowRankAttention, LowRankBlocks, Part
from lightning_robust.models.low_rank_build import replaced
from lightning_robust.models.low_rank_pool import LowRankAttentionPool, LowRankVisionTransformer
from lightning_robust.models.low_rank_sites import Piece, Site, find_sites, joined


def ranks_of(model: nn.Module) -> dict[str, int | None]:
    """Ranks of a network that `factorise` made.

    Args:
        model: The network.

    Returns:
        By the names that `matrices` gives for the dense network: the rank of each matrix that is a product of two, and
        None for a dense one in the same attention. Layers that stayed what they were are not listed.

    Example:
        >>> import torch
        >>> from lightning_robust.models.low_rank_build import factorise
        >>> ranks_of(factorise(nn.Sequential(nn.Linear(2, 2)), {"0.weight": (torch.ones(2, 1), torch.ones(1, 2))}))
        {'0.weight': 1}
    """
    ranks, modules = dict[str, int | None](), dict(model.named_modules())
    for name, module in modules.items():
        above, _, leaf = name.rpartition(".")
        parent = modules[above] if name else None
        if isinstance(module, LowRankBlocks):
            ranks |= {_in_blocks(name, part, above, parent): rank for part, rank in module.ranks().items()}
        elif isinstance(module, LowRankLinear | LowRankConv2d):
            ranks[_alone(name, leaf, above, parent)] = module.rank
        elif isinstance(parent, LowRankAttention | LowRankAttentionPool) or _projects(leaf, parent):
            ranks[_alone(name, leaf, above, parent)] = None
    return ranks


def restructured(model: nn.Module, ranks: Mapping[str, int | None], entries: Collection[str]) -> nn.Module:
    """A dense network given the structure of a factored one; what its factors hold is to be loaded.

    Args:
        model: The dense network; it is used up.
        ranks: As `ranks_of` gives them.
        entries: Names of the factored network's state: they tell which layers have a bias that the dense ones lack.

    Raises:
        ValueError: If a name is none of the network's matrices, or a rank is no positive whole number.
    """
    sites = find_sites(model).found
    known = [name for site in sites for name in site.pieces]
    for name, rank in ranks.items():
        if name not in known:
            raise ValueError(f"the network has no matrix {name!r}; near names: {near_names(name, known) or 'none'}.")
        if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or rank < 1):
            raise ValueError(f"the rank of {name} is to be 1 or more, not {rank!r}.")
    for site in sites:
        biases = {name: _bias(site, piece, entries) for name, piece in site.pieces.items()}
        own = {name: piece.bias for name, piece in site.pieces.items()}
        if any(name in ranks for name in site.pieces) or any(biases[n] is not own[n] for n in own):
            parts = {name: _empty(piece.weight, ranks.get(name)) for name, piece in site.pieces.items()}
            model = replaced(model, site, parts, biases, fuse=True)
    return model


def _in_blocks(name: str, part: str, above: str, parent: nn.Module | None) -> str:
    if isinstance(parent, LowRankAttention):
        return joined(above, f"in_proj_weight[{part}]")
    if isinstance(parent, LowRankAttentionPool):
        return joined(above, f"{part}_proj.weight")
    return joined(name, f"weight[{part}]")


def _alone(name: str, leaf: str, above: str, parent: nn.Module | None) -> str:
    if isinstance(parent, LowRankAttention) and leaf != "out_proj":
        return joined(above, f"{leaf}_weight")
    return joined(above, "proj") if _projects(leaf, parent) else joined(name, "weight")


def _projects(leaf: str, parent: nn.Module | None) -> bool:
    return isinstance(parent, LowRankVisionTransformer) and leaf == "projection"


def _bias(site: Site, piece: Piece, entries: Collection[str]) -> Tensor | None:
    if piece.bias is not None:
        return piece.bias
    blocks = joined(site.module, "in_proj") if piece.part in "qkv" else piece.layer
    there = any(joined(layer, "bias") in entries for layer in (piece.layer, blocks))
    return piece.weight.new_zeros(len(piece.weight)) if there else None


def _empty(weight: Tensor, rank: int | None) -> Part:
    rows, columns = weight.shape
    return weight if rank is None else (weight.new_zeros(rows, rank), weight.new_zeros(rank, columns))
