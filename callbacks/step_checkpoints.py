"""Checkpoints of a run at chosen steps: the model alone, in the form that plain open_clip loads."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer

from lightning_robust.callbacks.averaging import averaged_weights
from lightning_robust.errors import UserError
from lightning_robust.models.merging_files import write_merged

_COMPILED = "_orig_mod."


def step_path(folder: Path, step: int) -> Path:
    """The file of a step, with as many digits as order the files of most runs by name.

    Args:
        folder: Where checkpoints lie.
        step: The optimiser step.

    Example:
        >>> step_path(Path("steps"), 128).name
        'step=000128.safetensors'
    """
    return folder / f"step={step:06d}.safetensors"


def step_files(folder: Path) -> dict[int, Path]:
    """The step checkpoints of a folder, by step, in order; heads are left out.

    Args:
        folder: The folder; it may be missing.
    """
    found = {}
    for path in folder.glob("step=*.safetensors"):
        digits = path.name.removeprefix("step=").removesuffix(".safetensors")
        if digits.isdecimal():
            found[int(digits)] = path
    return dict(sorted(found.items()))


def check_no_other_run(folder: Path) -> None:
    """Check that a run that starts afresh finds no checkpoints of another: a curve would be of both.

    Raises:
        UserError: If it does.
    """
    if found := step_files(folder):
        raise UserError(
            f"{folder} holds {len(found)} step checkpoints of another run: give this one a folder of its own"
        )


def module_to_write(module: LightningModule, name: str | None) -> str:
    """The name of the submodule that is written.

    Args:
        module: The LightningModule.
        name: As the user gave it; None takes the first of `model` and `encoder`, else the whole.

    Raises:
        UserError: If there is none of that name.
    """
    own = dict(module.named_children())
    if name is None:
        return next((known for known in ("model", "encoder") if known in own), "")
    try:
        module.get_submodule(name)
    except AttributeError as error:
        names = ", ".join(repr(child) for child in own)
        raise UserError(
            f"{type(module).__name__} has no submodule {name!r} to write: give module=, one of {names}, or '' for the "
            "whole"
        ) from error
    return name


def write_step(path: Path, trainer: Trainer, module: LightningModule, name: str) -> None:
    """Write a submodule as it is now, with its averaged weights if there are any; every process has to call this.

    A CLIP has open_clip's names; of a classifier the encoder has them, and the head lies beside it. The first process
    writes, each file to a temporary one that is renamed.

    Args:
        path: The file, `….safetensors`.
        trainer: The Trainer, outside a validation's epoch.
        module: Its LightningModule.
        name: Of the submodule, `""` for the whole.

    Raises:
        ValueError: If the folder cannot be written.
    """
    with averaged_weights(trainer, module):
        state = trainer.strategy.lightning_module_state_dict()  # whole, also where the strategy shards weights
        if not trainer.is_global_zero:
            return
        start = f"{name}." if name else ""
        own = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
        write_merged(path, {f".{key}".replace(f".{_COMPILED}", ".")[1:]: value for key, value in own.items()})
