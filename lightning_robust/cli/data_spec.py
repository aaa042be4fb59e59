"""`--data`: evaluation data by name, as a folder of ImageNet, or from the `data:` section of a config."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lightning_robust.cli.config_lookup import find_config
from lightning_robust.errors import UserError, from_user

__all__ = ["open_data"]

SCENES, IMAGENET = "scenes", "imagenet:"


def open_data(text: str, transform: Callable[[Any], Any] | None = None, **options: Any) -> Any:
    """Open the data module that `--data` names.

    Args:
        text: `scenes`; `imagenet:FOLDER`, options after a question mark (`?shifts=v2,r&protocol=testbed`); a config
            file, or the name of one that ships, whose `data:` section names a data module; its options may be
            changed after a question mark too (`pacs?root=../data/pacs`), values in YAML.
        transform: Preprocessing, from a PIL image to a tensor: the model's own. None is enough to ask for names.
        **options: Arguments of the data module that go before those of the text, where it has them: `batch_size`,
            `num_workers`, `download`. None leaves an argument alone.

    Returns:
        The data module, with `class_names`, `templates`, `description`, `reference`, `shifts` and loaders.

    Raises:
        UserError: If there are no such data, or an option does not fit.

    Example:
        >>> open_data("scenes").val_loader_names[0]
        'reference'
    """
    given = {name: value for name, value in options.items() if value is not None}
    if text == SCENES:
        from lightning_robust.data.scenes import ScenesDataModule

        return _built(ScenesDataModule, text, {"transform": transform, **given})
    if text.startswith(IMAGENET):
        folder, _, asked = text.removeprefix(IMAGENET).partition("?")
        return _built(_imagenet(), text, {"root": folder, "transform": transform, **_imagenet_options(asked), **given})
    return _from_config(text, transform, given)


def _imagenet() -> Any:
    try:
        from lightning_robust.data.imagenet import ImageNetDataModule
    except ImportError as error:
        raise UserError(f"ImageNet cannot be read by this installation: {error}") from error
    return ImageNetDataModule


def _imagenet_options(text: str) -> dict[str, Any]:
    """Options of one word each; for anything more there is a config."""
    options: dict[str, Any] = {}
    for part in filter(None, text.split("&")):
        name, equals, value = part.partition("=")
        if name not in ("shifts", "v2", "protocol") or not equals:
            raise UserError(f"--data {IMAGENET}FOLDER takes ?shifts=v2,r,…&v2=VARIANT&protocol=NAME, not {part!r}")
        options[name] = [word for word in value.split(",") if word] if name == "shifts" else value
    return options


def _built(module: Any, text: str, arguments: dict[str, Any]) -> Any:
    import inspect

    taken = inspect.signature(module.__init__).parameters
    if unknown := [name for name in arguments if name not in taken]:
        raise UserError(f"--{unknown[0]} has no effect on the data {text!r}; leave it out")
    with from_user(ValueError, OSError):
        return module(**arguments)


def _from_config(text: str, transform: Callable[[Any], Any] | None, given: dict[str, Any]) -> Any:
    name, _, asked = text.partition("?") if not Path(text).is_file() else (text, "", "")
    path = _config(name)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the config {path}: {' '.join(str(error).split())}") from error
    data = settings.get("data") if isinstance(settings, dict) else None
    if not isinstance(data, dict) or "class_path" not in data:
        raise UserError(f"{path} has no data: section with a class_path, so it names no data module")
    changes = _yaml_options(asked)
    return _from_section({**data, "init_args": {**(data.get("init_args") or {}), **changes}}, path, transform, given)


def _yaml_options(text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in filter(None, text.split("&")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"--data CONFIG takes options as ?name=value&…, not {part!r}")
        try:
            options[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--data: the value of {name} is no YAML: {value!r}") from error
    return options


def _config(text: str) -> Path:
    try:
        return Path(find_config(text))
    except UserError as error:
        raise UserError(
            f"no data {text!r}: it is {SCENES!r}, {IMAGENET}FOLDER or a config whose data: section names a data "
            f"module ({error})"
        ) from error


def _from_section(
    data: dict[str, Any], path: Path, transform: Callable[[Any], Any] | None, given: dict[str, Any]
) -> Any:
    import argparse

    from jsonargparse import ArgumentParser
    from lightning.pytorch import LightningDataModule

    from lightning_robust.cli.parser_errors import user_error

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    try:
        config = parser.parse_object({"data": data})
        module = config.data.class_path
        arguments = config.data.get("init_args")  # all of them, with their defaults
        for name, value in given.items():
            if arguments is None or name not in arguments:
                raise UserError(f"--{name} has no effect on {module} of {path}; leave it out")
            arguments[name] = value
        if arguments is not None and "transform" in arguments:
            arguments.transform = None  # a config cannot name the model's own preprocessing
        built = parser.instantiate_classes(config).data
    except (argparse.ArgumentError, ValueError) as error:
        mistake = user_error(error)
        raise (mistake or UserError(f"the data: section of {path}: {' '.join(str(error).split())}")) from error
    if not hasattr(built, "transform"):
        raise UserError(f"{module} has no transform, so that it cannot take the preprocessing of a model")
    built.transform = transform
    return built
