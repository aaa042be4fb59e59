"""Whether a model was trained on other divisions of the data than it is judged on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["divided_otherwise"]

_DIVIDING = ("root", "reference", "split_seed", "fractions")
"""What decides which images of own data are test images."""


def divided_otherwise(files: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """A sentence for each run whose own config divides the data in another way than this evaluation does.

    Args:
        files: Files or folders of models; those outside runs say nothing.
        options: What the data are built with, as `data_settings` gives it.

    Raises:
        ValueError: If a run's config cannot be read.
    """
    from lightning_robust.models.run_names import init_args, run_config, run_settings

    if options.get("class") != "ImageFolderDataModule":
        return []  # test images of the others are apart from training, however they are set
    said: dict[Path, str] = {}
    for file in files:
        path = Path(file)
        config = run_config(path / "model" if path.is_dir() else path)
        if config is None or config in said:
            continue
        data = run_settings(config, "data")
        if not str(data.get("class_path", "")).endswith(f".{options['class']}"):
            continue
        theirs = init_args(data)
        other = [name for name in _DIVIDING if name in theirs and theirs[name] != options.get(name)]
        if other:
            listed = ", ".join(f"{name} {theirs[name]!r} there, {options.get(name)!r} here" for name in other)
            said[config] = (
                f"{config.parent} was trained on other settings of the data ({listed}): its training images may be "
                f"among these test images; --data {config} judges it on its own"
            )
    return list(said.values())
