"""The random head of a model that has not learned anything."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

HEAD_SCALE = 1 / 0.07
"""Length of the rows of the head at the start: the factor on the cosines with which a CLIP begins."""


def random_head(classes: int, width: int, seed: int) -> Tensor:
    """Draw a head W of random directions, each row of length 1 / 0.07; no random state is touched.

    Args:
        classes: Number of rows C.
        width: Width d.
        seed: Of the draw.

    Returns:
        W, `(C, d)`.

    Example:
        >>> random_head(2, 8, seed=0).norm(dim=1)
        tensor([14.2857, 14.2857])
    """
    generator = torch.Generator().manual_seed(seed)
    return HEAD_SCALE * functional.normalize(torch.randn(classes, width, generator=generator), dim=1)
