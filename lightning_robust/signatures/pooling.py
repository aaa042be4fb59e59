"""From whatever a layer returns to one feature vector per image."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

Pool = Literal["mean", "first"]
"""How tokens become one vector: their mean, or the first of them (the class token)."""


def first_tensor(output: Any, layer: str = "") -> Tensor:
    """Find the tensor of features in what a module returns.

    A tensor is itself; of a tuple or list the first tensor; of a transformers output ``pooler_output``, or else
    ``last_hidden_state``; of another mapping the first tensor.

    Raises:
        TypeError: if there is no tensor in it.
    """
    if isinstance(output, Tensor):
        return output
    for name in ("pooler_output", "last_hidden_state"):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    values = output.values() if isinstance(output, Mapping) else output
    if isinstance(output, Mapping | tuple | list):
        for value in values:
            if isinstance(value, Tensor):
                return value
    raise TypeError(f"layer {layer!r} gave {type(output).__name__}, in which there is no tensor of features.")


def pool_features(values: Float[Tensor, "n *positions"], pool: Pool = "mean", layer: str = "") -> Float[Tensor, "n d"]:
    """Make one vector per image, detached and independent of the layer's own memory.

    Args:
        values: ``(n, d)``, tokens ``(n, t, d)`` or maps ``(n, c, h, w)``; the batch comes first.
        pool: ``"mean"`` over tokens or positions, or ``"first"`` for the first token.
        layer: name for the error.

    Returns:
        ``(n, d)``, in float32 where half-precision values are averaged.

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
    if values.ndim == 2:
        # an in-place activation that follows would change what was captured
        return values.clone()
    if values.ndim == 3 and pool == "first":
        return values[:, 0].clone()
    if values.ndim == 4 and pool == "first":
        raise ValueError(f"layer {layer!r} gives maps (n, c, h, w), which have no first token; use pool='mean'.")
    if values.ndim not in (3, 4):
        shape = tuple(values.shape)
        raise ValueError(f"layer {layer!r} gives shape {shape}; (n, d), (n, t, d) and (n, c, h, w) can be measured.")
    half = values.dtype in (torch.float16, torch.bfloat16)
    positions = (1,) if values.ndim == 3 else (2, 3)
    return values.mean(dim=positions, dtype=torch.float32 if half else None)
