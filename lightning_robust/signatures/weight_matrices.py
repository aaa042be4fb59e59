"""Every weight matrix of a model by name: fused projections apart, convolutions flattened, tied weights once."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from torch import Tensor, nn

from lightning_robust.signatures.layers import plain_name
from lightning_robust.signatures.matrix_cuts import Cut, Found, check_weights, find_in_module, find_in_state, matches

Weights = nn.Module | Mapping[str, Tensor]
"""Where weights are: a module, or a state dict."""


class WeightMatrices(dict[str, Tensor]):
    """Matrices by name, views of the parameters where that is possible.

    Attributes:
        left_out: parameters of two or more dimensions that a wildcard named and that are no weight matrices, with the
            reason.
    """

    def __init__(self, matrices: Mapping[str, Tensor], left_out: Mapping[str, str]) -> None:
        super().__init__(matrices)
        self.left_out = dict(left_out)


class Chosen(NamedTuple):
    """A parameter, how it is cut, and which of its matrices are asked for."""

    tensor: Tensor
    cut: Cut
    names: tuple[str, ...]


def weight_matrices(
    weights: Weights, names: str | Sequence[str] = "all", *, embeddings: bool = False
) -> WeightMatrices:
    """Collect weight matrices as ``(out, in)`` each.

    A matrix is: the weight of a linear layer; of a convolution, flattened to ``(out, in·kh·kw)``; any other parameter
    of two dimensions (open_clip's ``proj`` and ``text_projection``, which are ``(in, out)`` and stay so). The fused
    projections of attention come apart: ``in_proj_weight`` (torch, open_clip) and ``qkv.weight`` (timm) of ``(3·d,
    in)`` become ``….in_proj_weight[q]``, ``[k]`` and ``[v]``, also where timm keeps them head by head. Other fused
    weights (``kv.weight``, gates of an LSTM, a ``qkv`` that is a convolution, which timm's families keep in several
    orders and widths) stay whole. Tied parameters come once, under their first name.

    Reparametrised weights: of ``torch.nn.utils.weight_norm`` a linear layer's ``weight_v`` is measured as it is stored,
    before each row is scaled to its ``weight_g`` (what the layer multiplies with is in neither), and of
    ``spectral_norm`` likewise ``weight_orig``. Those of ``torch.nn.utils.parametrizations`` are left out.

    Left out, with the reason in ``.left_out``: token embeddings (``embeddings=True`` takes them in); positional
    embeddings, class and register tokens and learnt queries, which multiply nothing; scales of norms and of
    ``weight_norm``; grouped
    convolutions, whose matrix is block diagonal: flattened they would pass for another one. **A state dict cannot tell
    a grouped convolution from one on fewer channels**, nor a fused weight kept head by head: give the module if it may
    have some. From a state dict, embeddings are told by their names.

    Args:
        weights: a module, compiled or not, or a state dict.
        names: ``"all"``, or names; in a wildcard ``*`` stands for anything, dots included, and ``?`` for one
            character. A fused weight's plain name stands for its three parts. Embeddings and tokens of two dimensions
            are given when named in full.
        embeddings: whether token embeddings count as matrices.

    Returns:
        Matrices by name in the order of the module, with ``.left_out``.

    Raises:
        TypeError: if the weights are neither a module nor a mapping, or hold numpy arrays.
        ValueError: if a name or wildcard finds no matrix (names the nearest, or says why what it found is none).

    Example:
        >>> attention = nn.MultiheadAttention(8, 2)
        >>> {name: tuple(W.shape) for name, W in weight_matrices(attention, "in_proj*").items()}
        {'in_proj_weight[q]': (8, 8), 'in_proj_weight[k]': (8, 8), 'in_proj_weight[v]': (8, 8)}
    """
    check_weights(weights)
    chosen, left_out = choose_matrices(weights, names, embeddings=embeddings)
    matrices = {}
    for tensor, cut, wanted in chosen:
        cut_out = cut.matrices(tensor.detach())
        matrices.update({name: cut_out[name] for name in wanted})
    return WeightMatrices(matrices, left_out)


def choose_matrices(
    weights: Weights, names: str | Sequence[str] = "all", *, embeddings: bool = False
) -> tuple[list[Chosen], dict[str, str]]:
    """Find the parameters that hold the matrices asked for, without cutting; see ``weight_matrices``.

    Args:
        weights: a module or a state dict.
        names: ``"all"``, names or wildcards.
        embeddings: whether token embeddings count as matrices.

    Returns:
        Parameters with their cuts and the matrices wanted of each, and what wildcards left out with the reason.

    Raises:
        ValueError: as ``weight_matrices``.
    """
    found = find_in_module(weights) if isinstance(weights, nn.Module) else find_in_state(weights)
    owner = type(weights).__name__ if isinstance(weights, nn.Module) else "the state dict"
    patterns = ["*"] if names == "all" else [names] if isinstance(names, str) else list(names)
    wanted: set[str] = set()
    left_out: dict[str, str] = {}
    for pattern in patterns:
        here, not_here = _of_pattern(found, "*" if pattern == "all" else pattern, embeddings=embeddings)
        if not here and names != "all":
            raise ValueError(_nothing(owner, found, pattern, not_here))
        wanted |= here
        left_out |= not_here
    chosen = []
    for tensor, cut, _ in found.cuts.values():
        mine = tuple(name for name in cut.names if name in wanted)
        if mine:
            chosen.append(Chosen(tensor, cut, mine))
    return chosen, {name: reason for name, reason in left_out.items() if name not in wanted}


def _of_pattern(found: Found, pattern: str, *, embeddings: bool) -> tuple[set[str], dict[str, str]]:
    pattern = plain_name(pattern)
    exact = found.aliases.get(pattern, pattern)
    for _, cut, _ in found.cuts.values():
        here = [name for name in cut.names if exact in (name, cut.parameter)]
        if here:
            return set(here), {}
    wanted: set[str] = set()
    left_out = {name: why.reason for name, why in found.refused.items() if matches(pattern, name)}
    for _, cut, why in found.cuts.values():
        here = [name for name in cut.names if matches(pattern, name) or matches(pattern, cut.parameter)]
        if why is None or (embeddings and why.embedding):
            wanted.update(here)
        elif here:
            left_out[cut.parameter] = why.reason
    return wanted, left_out


def _nothing(owner: str, found: Found, pattern: str, left_out: Mapping[str, str]) -> str:
    if left_out:
        name, reason = next(iter(left_out.items()))
        return f"{owner} has no matrix {pattern!r}: {name} is {reason}."
    names = [name for _, cut, why in found.cuts.values() if why is None for name in cut.names]
    near = get_close_matches(pattern, names, n=4, cutoff=0.3) or names[-4:]
    return f"{owner} has no matrix {pattern!r}; near names: {', '.join(near)}."
