"""The versions of a network that are worth a folder: those that are smaller by calibration, finetuned or not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_robust.cli.compress_versions import CALIBRATED, Version
from lightning_robust.cli.evaluate_models import LoadedModels
from lightning_robust.errors import from_user
from lightning_robust.models.compressed import save_compressed
from lightning_robust.models.networks import takes_class_names

__all__ = ["folder_names", "save_versions"]


def save_versions(versions: Sequence[Version], loaded: LoadedModels, data: Any, folder: Path) -> dict[str, str]:
    """Write every calibrated version as a folder that `--model` takes.

    A zero-shot head is written as it is, and with it the class names that it was made of: there is no text tower to
    make another one.

    Args:
        versions: All versions.
        loaded: The dense model.
        data: The data module, for class names.
        folder: The run's folder.

    Returns:
        By name of a version, its folder below the run's.

    Raises:
        UserError: If a folder cannot be written.
    """
    network = loaded.network
    if takes_class_names(loaded.candidates[0].name):
        network = replace(network, class_names=tuple(data.class_names))
    names = folder_names([one for one in versions if one.method == CALIBRATED])
    for one in versions:
        if one.name in names:
            with from_user(ValueError):
                save_compressed(folder / names[one.name], network, one.make().cpu())
    return names


def folder_names(versions: Sequence[Version]) -> dict[str, str]:
    """Names of folders by name of a version, with as many decimals as tell the shares apart, at least two.

    Args:
        versions: Different versions.
    """
    shares = {one.keep for one in versions}
    decimals = next((n for n in range(2, 17) if len({f"{share:.{n}f}" for share in shares}) == len(shares)), 17)
    return {one.name: f"keep={one.keep:.{decimals}f}{'-finetuned' if one.epochs else ''}" for one in versions}
