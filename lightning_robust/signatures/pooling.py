"""From whatever a layer returns to rows of features: one per image, or one per token."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_robust.signatures.layer_form import Layout, Pool

__all__ = ["Pool", "as_batch_first", "first_tensor", "pool_features"]

_PREFERRED = ("image_features", "image_embeds", "pooler_output", "last_hidden_state")


def first_tensor(output: Any, layer: str = "") -> Tensor:
    """Find the tensor of features in what a module returns.

    A tensor is itself. Of a mapping or an object with such attributes (the outputs of open_clip and transformers) the
    first there is of ``image_features``, ``image_embeds``, ``pooler_output``, ``last_hidden_state``; of another
    mapping, a tuple or a list the first tensor. So the output of a transformers vision tower counts as its pooled
    vector; for its tokens name its last block or norm.

    Raises:
        TypeError: if there is no tensor in it.
    """
    found = _tensor_in(output)
    if found is None:
        raise TypeError(f"layer {layer!r} gave {type(output).__name__}, in which there is no tensor of features.")
    return found


def _tensor_in(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    for name in _PREFERRED:
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    if isinstance(output, Mapping | tuple | list):
        values = output.values() if isinstance(output, Mapping) else output
        return next((found for found in map(_tensor_in, values) if found is not None), None)
    return None


def as_batch_first(values: Tensor, layout: Layout) -> Tensor:
    """Bring what a layer gives into the order ``(n, d)``, ``(n, t, d)`` or ``(n, c, h, w)``, as a view.

    Example:
        >>> as_batch_first(torch.zeros(50, 2, 8), "t n d").shape
        torch.Size([2, 50, 8])
    """
    if layout == "t n d":
        return values.transpose(0, 1)
    return values.movedim(3, 1) if layout == "n h w c" else values


def pool_features(
    values: Float[Tensor, "n *positions"], pool: Pool = "mean", layer: str = ""
) -> Float[Tensor, "rows d"]:
    """Make one vector per image, or per token, detached and independent of the layer's own memory.

    Args:
        values: ``(n, d)``, tokens ``(n, t, d)`` or maps ``(n, c, h, w)``; the batch comes first.
        pool: ``"mean"`` over all tokens (class and register tokens too) or positions, ``"first"`` for the first token,
            ``"tokens"`` for a row of each token or position, those of an image one after the other.
        layer: name for the error.

    Returns:
        ``(n, d)``, or ``(n·t, d)`` for ``"tokens"``; in float32 where half-precision values are averaged.

    Raises:
        TypeError: if the values are not floating point.
        ValueError: if they have another number of dimensions, or ``"first"`` is asked of maps.

    Example:
        >>> pool_features(torch.tensor([[[1.0, 0.0], [3.0, 2.0]]]))
        tensor([[2., 1.]])
    """
    if not values.is_floating_point():
        raise TypeError(f"layer {layer!r} gives {values.dtype}, not floating-point features.")
    values = values.detach()
    if values.ndim not in (2, 3, 4):
        shape = tuple(values.shape)
        raise ValueError(f"layer {layer!r} gives shape {shape}; (n, d), (n, t, d) and (n, c, h, w) can be measured.")
    if values.ndim == 2:
        # an in-place activation that follows would change what was captured
        return values.clone()
    if pool == "first":
        if values.ndim == 4:
            raise ValueError(f"layer {layer!r} gives maps (n, c, h, w), which have no first token; use pool='mean'.")
        return values[:, 0].clone()
    if pool == "tokens":
        rows = values if values.ndim == 3 else values.flatten(2).transpose(1, 2)
        return rows.flatten(0, 1).clone()
    half = values.dtype in (torch.float16, torch.bfloat16)
    positions = (1,) if values.ndim == 3 else (2, 3)
    return values.mean(dim=positions, dtype=torch.float32 if half else None)
