"""The optimiser recipe of CLIP: AdamW without decay on vectors, linear warm-up, cosine to zero."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Split trainable parameters into those that decay and those that do not.

    Matrices and convolutions decay; vectors and scalars (biases, norms' gains, the logit scale) do not.

    Args:
        parameters: Any parameters; frozen ones are left out.
        weight_decay: The decay of the first group.

    Returns:
        Two parameter groups for an optimiser; an empty one is left out.

    Raises:
        ValueError: If nothing is trainable, or the decay is negative.

    Example:
        >>> [len(group["params"]) for group in decay_groups(nn.Linear(2, 3).parameters(), 0.1)]
        [1, 1]
    """
    if not weight_decay >= 0:
        raise ValueError(f"Need weight_decay >= 0, not {weight_decay}.")
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        raise ValueError("Nothing to train: every parameter is frozen.")
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Factor on the learning rate at a step: linear warm-up to 1, then half a cosine down to 0.

    Args:
        step: Optimiser steps taken so far, from 0.
        warmup_steps: Steps of the warm-up; the first one already trains, at `1 / warmup_steps`.
        total_steps: Steps of the whole run; the factor is 0 from there on.

    Returns:
        A number in [0, 1].

    Example:
        >>> [warmup_cosine(s, warmup_steps=2, total_steps=6) for s in (0, 1, 4, 6)]
        [0.5, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def adamw_with_schedule(
    groups: list[dict[str, Any]],
    *,
    lr: float,
    betas: tuple[float, float],
    warmup_steps: int,
    total_steps: int | float,
) -> tuple[AdamW, LambdaLR]:
    """Build AdamW and its schedule, to be stepped after every optimiser step.

    A warm-up as long as the run or longer is warned about: the highest learning rate is never reached.

    Args:
        groups: Parameter groups with their weight decay, see `decay_groups`; one with an `lr` has that as its highest.
        lr: Highest learning rate of the others.
        betas: AdamW's two decay rates, each in [0, 1).
        warmup_steps: Steps of the linear warm-up.
        total_steps: Optimiser steps of the whole run.

    Raises:
        ValueError: If a number is out of range, or the run has no end.
    """
    if not (lr > 0 and warmup_steps >= 0):
        raise ValueError(f"Need lr > 0 and warmup_steps >= 0, not lr={lr}, warmup_steps={warmup_steps}.")
    if not math.isfinite(total_steps) or total_steps < 1:
        raise ValueError(f"A cosine needs the number of steps, not {total_steps}: set max_epochs or max_steps.")
    if warmup_steps >= total_steps:
        rank_zero_warn(
            f"The warm-up of {warmup_steps} steps does not end within the run's {int(total_steps)} steps, so the "
            f"learning rate never falls: take fewer warmup_steps."
        )
    optimizer = AdamW(groups, lr=lr, betas=betas)
    schedule = LambdaLR(
        optimizer, lambda step: warmup_cosine(step, warmup_steps=warmup_steps, total_steps=int(total_steps))
    )
    return optimizer, schedule
