"""The matrices of a network that can become a product of two: names, sizes, and what each costs per image."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_robust.models.low_rank_build import opened
from lightning_robust.models.low_rank_sites import Sites, find_sites
from lightning_robust.models.modes import eval_mode, kept_random_state

_UNCALLED = "of a layer that no image goes through, or whose weight another module reads"
_ASKED = "of a layer that was to be left dense"


@dataclass(frozen=True, eq=False)
class MatrixOfLayer:
    """One weight matrix that can be factored.

    Attributes:
        name: That of its parameter, with `[q]`, `[k]` or `[v]` behind it where one parameter holds all three (an
            `in_proj_weight` of `nn.MultiheadAttention`, a `qkv.weight` of timm). `signatures` names them so too.
        kind: `conv` for convolutions, else `linear`.
        weight: `(rows, columns)` = `(out, in·kh·kw)`, detached; it shares the parameter's memory.
        bias: `(rows,)`, likewise; None where the layer has none.
        layer: Name of the module of `opened(model)` whose input (first argument) the matrix multiplies.
        reads: Layer by which its input is known: the same for all matrices that read the very same input (q, k and v
            of self-attention), so that its moments are needed once. Without images it is `layer`.
        positions: How often one image's forward multiplies by it: tokens, or places of a convolution. None without
            images.
    """

    name: str
    kind: Literal["linear", "conv"]
    weight: Tensor
    bias: Tensor | None
    layer: str
    reads: str
    positions: int | None

    @property
    def rows(self) -> int:
        """Width of the output."""
        return self.weight.shape[0]

    @property
    def columns(self) -> int:
        """Width of the input, of a convolution `in·kh·kw`."""
        return self.weight.shape[1]

    @property
    def parameters(self) -> int:
        """Numbers in the matrix, without the bias."""
        return self.rows * self.columns

    @property
    def multiplications(self) -> int | None:
        """Per image: `rows · columns · positions`; at rank k they are `k · (rows + columns) · positions`."""
        return None if self.positions is None else self.parameters * self.positions


def matrices(
    model: nn.Module, images: Tensor | None = None, *, leave: Collection[str] = ()
) -> dict[str, MatrixOfLayer]:
    """Every weight matrix of a network that can be factored, by name, in the order of its modules.

    Args:
        model: The network. Nothing of it is changed.
        images: One preprocessed image or more, `(n, 3, H, W)`: then positions are counted in one forward, and matrices
            that it does not reach (a text tower; a weight that another module reads) are left out.
        leave: Layers (modules by name, with all below them) whose matrices are left out, such as the head.

    Raises:
        ValueError: If `leave` names no module.

    Example:
        >>> from lightning_robust.models.encoders import load_encoder
        >>> found = matrices(load_encoder("scenes-clip").model.visual, torch.zeros(1, 3, 32, 32))
        >>> pool = found["attnpool.v_proj.weight"]
        >>> len(found), pool.rows, pool.columns, pool.positions, pool.reads
        (23, 512, 512, 2, 'attnpool.k_proj')
    """
    return _surveyed(model, images, leave)[0]


def left_dense(model: nn.Module, images: Tensor | None = None, *, leave: Collection[str] = ()) -> dict[str, str]:
    """Parameters of two dimensions or more that `matrices` leaves out, and why.

    Args:
        model: The network.
        images: As for `matrices`.
        leave: As for `matrices`.

    Returns:
        By name the end of the sentence "this parameter is …".

    Raises:
        ValueError: If `leave` names no module.

    Example:
        >>> left_dense(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)))
        {'0.weight': 'the weight of a grouped convolution, which is block diagonal'}
    """
    return _surveyed(model, images, leave)[1]


def _surveyed(
    model: nn.Module, images: Tensor | None, leave: Collection[str]
) -> tuple[dict[str, MatrixOfLayer], dict[str, str]]:
    modules = dict(model.named_modules())
    if strange := [name for name in leave if name not in modules]:
        raise ValueError(f"there is no layer {strange[0]!r} to leave dense.")
    sites = find_sites(model)
    calls = None if images is None else _calls(model, sites, images)
    found, left = dict[str, MatrixOfLayer](), dict(sites.left)
    for site in sites.found:
        for name, piece in site.pieces.items():
            call = (piece.layer, None) if calls is None else calls.get(piece.layer)
            if any(f"{name}.".startswith(f"{layer}.") for layer in leave):
                left[name] = _ASKED
            elif call is None:
                left[name] = _UNCALLED
            else:
                kind: Literal["linear", "conv"] = "conv" if site.kind == "conv" else "linear"
                found[name] = MatrixOfLayer(name, kind, piece.weight, piece.bias, piece.layer, *call)
    return found, left


def _calls(model: nn.Module, sites: Sites, images: Tensor) -> dict[str, tuple[str, int]]:
    """Of every layer that fires, by which one its input is known, and its positions per image."""
    copied = opened(model)
    modules, calls = dict(copied.named_modules()), dict[str, tuple[str, int]]()
    known: dict[tuple[Any, ...], tuple[str, Tensor]] = {}  # the tensors are kept, so that no id is given twice

    def note(name: str, module: nn.Module, read: tuple[Any, ...], given: Tensor) -> None:
        x: Tensor = read[0]
        conv = isinstance(module, nn.Conv2d)
        places = given[0, 0].numel() if conv else x.numel() // x.shape[-1] // len(images)
        form = (module.kernel_size, module.stride, module.padding, module.dilation) if conv else ()
        first = known.setdefault((id(x), x._version, *form), (name, x))[0]
        calls[name] = (first, places) if name not in calls else (name, calls[name][1] + places)

    for name in {piece.layer for site in sites.found for piece in site.pieces.values()}:
        modules[name].register_forward_hook(lambda m, read, given, name=name: note(name, m, read, given))
    first_parameter = next(copied.parameters())
    with eval_mode(copied), kept_random_state(), torch.no_grad():
        copied(images.to(first_parameter.device, first_parameter.dtype))
    return calls
