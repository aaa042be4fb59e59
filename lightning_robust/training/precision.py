"""What is computed in float32 at least, whatever the Trainer's precision."""

from __future__ import annotations

import torch
from torch import Tensor


def full(values: Tensor) -> Tensor:
    """Give the values in float32 at least.

    Args:
        values: Floating point numbers.

    Example:
        >>> full(torch.ones(1, dtype=torch.bfloat16)).dtype, full(torch.ones(1, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def full_precision(device: torch.device) -> torch.autocast:
    """A context without autocast: a product of 100 and a cosine has errors of 0.2 in bfloat16, so that logits tie.

    Args:
        device: Where the numbers are.
    """
    return torch.autocast(device.type, enabled=False)
