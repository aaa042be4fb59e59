"""A bare config name that is no file here is looked up among the configs that ship with the package."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from lightning_robust.errors import UserError

__all__ = ["find_config", "resolve_configs", "shipped_configs"]

_OPTIONS = ("--config", "-c")


def shipped_configs() -> dict[str, Path]:
    """The configs that ship with the package, path by file name, with the folder where they lie in one.

    Example:
        >>> all(path.is_file() for path in shipped_configs().values())
        True
        >>> sorted(name for name in shipped_configs() if name.startswith("emergence/"))[0]
        'emergence/contrastive_broad.yaml'
    """
    folder = Path(str(files("lightning_robust.configs")))
    found = sorted([*folder.glob("*.yaml"), *folder.glob("*/*.yaml")])
    return {path.relative_to(folder).as_posix(): path for path in found}


def find_config(name: str) -> str:
    """Path of the config that ``name`` means: a file from here, or else one that ships, with or without ``.yaml``.

    A file in the working directory wins over one that ships.

    Raises:
        UserError: it is neither; the message names both places and lists what ships. For a name with a folder in it,
            which is most likely a path, it says that alone.
    """
    candidates = (name, f"{name}.yaml")
    if here := [candidate for candidate in candidates if Path(candidate).is_file()]:
        return here[0]
    shipped = shipped_configs()
    if there := [str(shipped[candidate]) for candidate in candidates if candidate in shipped]:
        return there[0]
    if Path(name).name != name:
        raise UserError(f"there is no config file {name}")
    raise UserError(
        f"there is no config {name!r}: neither a file in the working directory {Path.cwd()} nor one that ships with "
        f"lightning-robust in {files('lightning_robust.configs')} ({', '.join(shipped) or 'none'})"
    )


def resolve_configs(arguments: Sequence[str]) -> list[str]:
    """Replace the value of every ``--config`` and ``-c`` by the path of the config that it means.

    Takes ``--config NAME``, ``--config=NAME``, ``-c NAME`` and ``-c=NAME``, any number of them. A value that is
    itself YAML (it has a colon and a space, a brace or a line break) is left for the parser.

    Raises:
        UserError: a name that is neither a file nor ships.

    Example:
        >>> resolve_configs(["fit", "--config", "{seed: 1}", "--trainer.max_epochs=1"])
        ['fit', '--config', '{seed: 1}', '--trainer.max_epochs=1']
    """
    return list(_resolved(iter(arguments)))


def _resolved(arguments: Iterator[str]) -> Iterator[str]:
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option not in _OPTIONS:
            yield argument
        elif equals:
            yield f"{option}={_find(value)}"
        else:
            yield argument
            if (following := next(arguments, None)) is not None:
                yield _find(following)


def _find(value: str) -> str:
    is_text = any(mark in value for mark in (": ", "{", "\n"))
    return value if is_text or value.startswith("-") else find_config(value)
