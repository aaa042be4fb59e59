"""`--data`: evaluation data by name, as a folder of ImageNet, or from the `data:` section of a config."""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lightning_robust.cli.config_lookup import find_config
from lightning_robust.cli.data_options import data_options
from lightning_robust.errors import UserError, from_user

__all__ = ["data_settings", "open_data"]

SCENES, IMAGENET = "scenes", "imagenet:"
_WITHOUT_EFFECT = ("transform", "batch_size", "num_workers", "download")
_OPTION = re.compile(r"Problem with given class_path '([^']+)':\s*Parser key \"([^\"]+)\":\s*([^\n]+)")


def open_data(text: str, transform: Callable[[Any], Any] | None = None, **options: Any) -> Any:
    """Open the data module that `--data` names.

    Args:
        text: `scenes`; `imagenet:FOLDER`, options after a question mark (`?shifts=v2,r&protocol=testbed`); a config
            file, or the name of one that ships, whose `data:` section names a data module; its options may be
            changed after a question mark too (`pacs?root=../data/pacs`), values in YAML; a
            text stays a text where the argument is one (`pacs?root=2024`).
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
    if (named := _named(text)) is not None:
        return _built(named[0], text, {**named[1], "transform": transform, **given})
    return _from_section(*_section(text), transform, given)


def data_settings(text: str) -> dict[str, Any]:
    """What `open_data` builds, without building it: the class, and every argument that figures may depend on.

    Args:
        text: As `open_data` takes it.

    Returns:
        `class` and the arguments, defaults too, as JSON has them; without preprocessing, batch size, workers and
        download.

    Raises:
        UserError: If there are no such data, or an option does not fit.

    Example:
        >>> data_settings("scenes")["seed"]
        0
    """
    if (named := _named(text)) is not None:
        module = named[0]
        defaults = {name: one.default for name, one in inspect.signature(module).parameters.items()}
        name, arguments = f"{module.__module__}.{module.__qualname__}", {**defaults, **named[1]}
    else:
        config = _parsed(*_section(text))[1].as_dict()["data"]
        name, arguments = config["class_path"], config.get("init_args") or {}
    kept = {key: value for key, value in arguments.items() if key not in _WITHOUT_EFFECT}
    plain: dict[str, Any] = json.loads(json.dumps({"class": name.rpartition(".")[2], **kept}, default=str))
    return plain


def _named(text: str) -> tuple[Any, dict[str, Any]] | None:
    """Class and arguments of data that have a name of their own; None: the text is a config."""
    if text == SCENES:
        from lightning_robust.data.scenes import ScenesDataModule

        return ScenesDataModule, {}
    if text.startswith(f"{SCENES}?") and not Path(text).is_file():
        raise UserError(
            f"--data {SCENES} takes no options, not {text!r}: write them into a config whose data: section names "
            "lightning_robust.data.ScenesDataModule"
        )
    if text.startswith(IMAGENET):
        folder, _, asked = text.removeprefix(IMAGENET).partition("?")
        return _imagenet(), {"root": folder, **_imagenet_options(asked)}
    return None


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
    taken = inspect.signature(module.__init__).parameters
    if unknown := [name for name in arguments if name not in taken]:
        raise UserError(f"--{unknown[0]} has no effect on the data {text!r}; leave it out")
    with from_user(ValueError, OSError):
        return module(**arguments)


def _section(text: str) -> tuple[dict[str, Any], Path]:
    """The `data:` section of a config with the changes of the text, and the config."""
    name, _, asked = text.partition("?") if not Path(text).is_file() else (text, "", "")
    path = _config(name)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the config {path}: {' '.join(str(error).split())}") from error
    data = settings.get("data") if isinstance(settings, dict) else None
    if not isinstance(data, dict) or "class_path" not in data:
        raise UserError(f"{path} has no data: section with a class_path, so it names no data module")
    changes = data_options(asked, str(data["class_path"]))
    return {**data, "init_args": {**(data.get("init_args") or {}), **changes}}, path


def _config(text: str) -> Path:
    try:
        return Path(find_config(text))
    except UserError as error:
        raise UserError(
            f"no data {text!r}: it is {SCENES!r}, {IMAGENET}FOLDER or a config whose data: section names a data "
            f"module ({error})"
        ) from error


def _parsed(data: dict[str, Any], path: Path) -> tuple[Any, Any]:
    import argparse

    from jsonargparse import ArgumentParser
    from lightning.pytorch import LightningDataModule

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    try:
        return parser, parser.parse_object({"data": data})
    except (argparse.ArgumentError, ValueError) as error:
        raise _mistake(error, path) from error


def _from_section(
    data: dict[str, Any], path: Path, transform: Callable[[Any], Any] | None, given: dict[str, Any]
) -> Any:
    import argparse

    parser, config = _parsed(data, path)
    module = config.data.class_path
    arguments = config.data.get("init_args")  # all of them, with their defaults
    for name, value in given.items():
        if arguments is None or name not in arguments:
            raise UserError(f"--{name} has no effect on {module} of {path}; leave it out")
        arguments[name] = value
    if arguments is not None and "transform" in arguments:
        arguments.transform = None  # a config cannot name the model's own preprocessing
    try:
        built = parser.instantiate_classes(config).data
    except (argparse.ArgumentError, ValueError) as error:
        raise _mistake(error, path) from error
    if not hasattr(built, "transform"):
        raise UserError(f"{module} has no transform, so that it cannot take the preprocessing of a model")
    built.transform = transform
    return built


def _mistake(error: Exception, path: Path) -> UserError:
    from lightning_robust.cli.parser_errors import user_error

    inner = _OPTION.search(str(error))
    if inner is not None:  # what is wrong with one option, without the tree of everything that was tried
        said = re.sub(r"(?:a )?<class '([^']+)'>", r"\1", inner[3]).replace("Expected", "expected")
        return UserError(f"the data {inner[1].rpartition('.')[2]} of {path}, option {inner[2]}: {said.strip()}")
    found = user_error(error)
    said = str(found).replace(" (see: fit --help)", "") if found else " ".join(str(error).split())
    return UserError(said if found else f"the data: section of {path}: {said}")
