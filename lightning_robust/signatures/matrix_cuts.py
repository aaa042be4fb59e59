"""How matrices are cut out of the parameters of a model: which parameter is a matrix, and which is none, and why."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedParameter

from lightning_robust.signatures.layers import plain_name

GROUPED = "the weight of a grouped convolution, which is block diagonal and has no spectrum as one flattened matrix"
_FUSED = ("in_proj_weight", "qkv.weight", "to_qkv.weight")
_POSITIONS = re.compile(
    r"(^|_)pos(ition|itional)?_?(emb|enc|bias)|^(abs|absolute|rel|relative)_pos|^wpe$|(^|_)position_ids$"
)
_TOKENS = re.compile(
    r"(^|_)(cls|class|dist|reg|register|mask|storage)_(tokens?|emb\w*)$|^(query|queries|latents?|probe)$"
)
_BIASES = re.compile(r"(^|_)bias(es)?(_table)?$")
_EMBEDDINGS = re.compile(r"(^|_)emb(ed|edding|eddings)?(_|$)|^wte$")
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Cut:
    """How one parameter becomes matrices.

    Attributes:
        parameter: its name.
        names: of the matrices in it: its own, or three with ``[q]``, ``[k]`` and ``[v]``.
        heads: heads that are kept one after another in a fused weight, q, k and v in each; 0 if q, k and v are whole.
        transposed: whether the first dimension is the input's (transposed convolutions).
    """

    parameter: str
    names: tuple[str, ...]
    heads: int = 0
    transposed: bool = False

    def matrices(self, tensor: Tensor) -> dict[str, Tensor]:
        """Cut the parameter's tensor, of whatever model, into matrices ``(out, in)`` by name."""
        if self.transposed:
            tensor = tensor.transpose(0, 1)
        W = tensor.flatten(1)
        if len(self.names) == 1:
            return {self.names[0]: W}
        if not self.heads:
            return dict(zip(self.names, W.chunk(3), strict=True))
        by_head = W.reshape(self.heads, 3, -1, W.shape[1])
        return {name: by_head[:, part].reshape(-1, W.shape[1]) for part, name in enumerate(self.names)}


@dataclass(frozen=True)
class LeftOut:
    """Why a parameter is none of a model's weight matrices.

    Attributes:
        reason: ends the sentence "this parameter is …".
        embedding: whether it is a token embedding, which counts when asked for.
        never: whether it is no matrix even when it is named in full.
    """

    reason: str
    embedding: bool = False
    never: bool = False


_SCALE = LeftOut("the scale of a weight under weight_norm, a number for each row of its weight_v", never=True)


@dataclass
class Found:
    """What a model holds.

    Attributes:
        cuts: per parameter name its tensor, how it is cut, and why it does not count, if so.
        refused: why a parameter is no matrix in any case.
        aliases: first name of a tied parameter by its other names.
    """

    cuts: dict[str, tuple[Tensor, Cut, LeftOut | None]] = field(default_factory=dict)
    refused: dict[str, LeftOut] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, tensor: Tensor, verdict: Cut | LeftOut) -> None:
        """Sort a parameter in."""
        if isinstance(verdict, LeftOut) and verdict.never:
            self.refused[name] = verdict
        elif isinstance(verdict, LeftOut):
            self.cuts[name] = (tensor, Cut(name, (name,)), verdict)
        else:
            self.cuts[name] = (tensor, verdict, None)


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a wildcard: ``*`` is anything and ``?`` one character; brackets are letters like others."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name) is not None


def check_weights(weights: object) -> None:
    """Refuse what is neither a module nor a mapping of names to tensors.

    Raises:
        TypeError: says what came, and where a numpy array is.
    """
    if isinstance(weights, nn.Module):
        return
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights are a module or a state dict of tensors by name, not {type(weights).__name__}.")
    arrays = [name for name, value in weights.items() if isinstance(value, np.ndarray)]
    if arrays:
        raise TypeError(f"{arrays[0]} is a numpy array, not a torch tensor; torch.from_numpy makes one.")


def find_in_module(module: nn.Module) -> Found:
    """Judge every parameter of a module by the layer it belongs to; a tied one by the layer where it is a matrix."""
    found, modules = Found(), {plain_name(name): m for name, m in module.named_modules(remove_duplicate=False)}
    places: dict[int, list[tuple[str, Tensor, Cut | LeftOut]]] = {}
    for prefix, owner in modules.items():
        for attribute, parameter in owner._parameters.items():
            if parameter is not None and (parameter.ndim >= 2 or isinstance(parameter, UninitializedParameter)):
                name = f"{prefix}.{attribute}" if prefix else attribute
                parent = modules.get(prefix.rpartition(".")[0])
                verdict = _of_owner(name, attribute, parameter, owner, parent)
                places.setdefault(id(parameter), []).append((name, parameter, verdict))
    for uses in places.values():
        best = next((use for use in uses if isinstance(use[2], Cut)), uses[0])
        found.add(*best)
        found.aliases |= {name: best[0] for name, _, _ in uses if name != best[0]}
    return found


def find_in_state(state: Mapping[str, Tensor]) -> Found:
    """Judge every entry of a state dict by name and shape; entries that share their memory are tied."""
    found, seen = Found(), dict[tuple[object, ...], str]()
    for key, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.ndim < 2:
            continue
        name = plain_name(key)
        memory = (str(tensor.device), tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        first = seen.setdefault(memory, name) if tensor.numel() and tensor.data_ptr() else name
        if first != name and not (first in found.cuts and found.cuts[first][2] is not None):
            found.aliases[name] = first
            continue
        found.add(name, tensor, _SCALE if _is_scale(key, tensor, state) else _of_name(name, tensor))
    return found


def _of_owner(
    name: str, attribute: str, parameter: Tensor, owner: nn.Module, parent: nn.Module | None
) -> Cut | LeftOut:
    if isinstance(parameter, UninitializedParameter):
        return LeftOut("not initialised yet", never=True)
    own = attribute == "weight"
    if own and isinstance(owner, _ConvNd):
        if owner.groups > 1:
            return LeftOut(GROUPED, never=True)
        return _checked(parameter) or Cut(name, (name,), transposed=owner.transposed)
    if own and isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return _checked(parameter) or _embedding(name)
    if isinstance(owner, _NORMS):
        return LeftOut("the scale of a norm", never=True)
    if own and isinstance(owner, nn.Linear):
        return _checked(parameter) or _linear(name, parameter, parent)
    if _is_scale(attribute, parameter, owner._parameters):
        return _SCALE
    return _of_name(name, parameter, parent, layer_known=True)


def _of_name(name: str, tensor: Tensor, parent: nn.Module | None = None, *, layer_known: bool = False) -> Cut | LeftOut:
    unfit = _checked(tensor)
    if unfit:
        return unfit
    *path, attribute = name.split(".")
    own = attribute == "weight"
    what = path[-1] if own and path else attribute
    if ".parametrizations." in f".{name}":
        return LeftOut("part of a parametrised weight", never=tensor.ndim > 2)
    if _TOKENS.search(what):
        return LeftOut("learnt tokens, which multiply nothing", never=tensor.ndim > 2)
    if _POSITIONS.search(what):
        return LeftOut("a positional embedding, which multiplies nothing", never=tensor.ndim > 2)
    if attribute == "attn_mask" or _BIASES.search(what):
        return LeftOut("a mask or a bias, which multiplies nothing", never=tensor.ndim > 2)
    if own and not layer_known and tensor.ndim == 2 and _EMBEDDINGS.search(what) and "patch" not in what:
        return _embedding(name)
    if tensor.ndim > 2 and (layer_known or not own):
        return _unknown(tensor)
    return _linear(name, tensor, parent)


def _linear(name: str, W: Tensor, attention: nn.Module | None) -> Cut:
    fused = any(f".{name}".endswith(f".{ending}") for ending in _FUSED) and W.ndim == 2 and W.shape[0] % 3 == 0
    if not fused or hasattr(attention, "key_dim"):  # timm: keys and values of different widths, head by head
        return Cut(name, (name,))
    heads = int(getattr(attention, "num_heads", 0)) if getattr(attention, "head_first", False) is True else 0
    return Cut(name, tuple(f"{name}[{part}]" for part in "qkv"), heads)


def _is_scale(key: str, tensor: Tensor, siblings: Mapping[str, object]) -> bool:
    return key.endswith("_g") and f"{key[:-2]}_v" in siblings and tensor.numel() == max(tensor.shape)


def _checked(tensor: Tensor) -> LeftOut | None:
    if not tensor.is_floating_point():
        return LeftOut(f"of {str(tensor.dtype).removeprefix('torch.')}, which is not floating-point", never=True)
    return LeftOut(f"empty, of shape {tuple(tensor.shape)}", never=True) if tensor.numel() == 0 else None


def _embedding(name: str) -> LeftOut:
    path = name.split(".")
    if len(path) > 1 and _POSITIONS.search(path[-2]):
        return LeftOut("a positional embedding, which multiplies nothing")
    return LeftOut("a token embedding, which counts with embeddings=True", embedding=True)


def _unknown(tensor: Tensor) -> LeftOut:
    shape = tuple(tensor.shape)
    return LeftOut(f"a parameter of shape {shape} whose use is not known: no linear layer, no convolution", never=True)
