"""The device that a command runs on."""

from typing import Any

from lightning_robust.cli.processes import Processes
from lightning_robust.errors import UserError

__all__ = ["chosen_device", "named_device"]


def chosen_device(name: str | None, here: Processes) -> Any:
    """The device that is asked for, or a GPU where there is one.

    Args:
        name: `cpu`, `cuda`, one GPU, or None.
        here: This process among its fellows: each has a GPU of its own.

    Raises:
        UserError: If there is no such device, or it cannot be used.
    """
    import torch

    chosen = named_device(name)
    try:
        device = torch.device(f"cuda:{here.local}" if chosen == "cuda" else chosen)
    except RuntimeError as error:
        raise UserError(f"--device {name!r} is no device: it is cpu, cuda or one GPU such as cuda:1") from error
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        what = str(error).splitlines()[0].partition(". ")[0].rstrip(".!")
        raise UserError(f"--device {name} cannot be used ({what}); cpu always works") from error
    return device


def named_device(name: str | None) -> str:
    """The device that is asked for, or a GPU where there is one; from here on float32 is float32 on it.

    PyTorch lets convolutions of float32 be computed in TF32 on a GPU, with 10 bits of each factor. Answers of a ResNet
    change with it, and figures would be those of the device.

    Args:
        name: `cpu`, `cuda`, one GPU, or None.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return ("cuda" if torch.cuda.is_available() else "cpu") if name is None else name
