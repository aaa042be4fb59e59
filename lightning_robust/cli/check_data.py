"""`check-data`: is a copy of ImageNet and its shifts whole? Said before any GPU hour is spent."""

import argparse
from pathlib import Path
from typing import Any

from lightning_robust.errors import UserError, from_user


def run(args: argparse.Namespace) -> int:
    """Count, compare and say what is missing.

    Returns:
        0 if every set asked for is there and whole, else 1.

    Raises:
        UserError: If there is no such folder, or a set or variant is unknown.
    """
    from rich.console import Console
    from rich.markup import escape

    from lightning_robust.data.imagenet.checks import check_set
    from lightning_robust.data.imagenet.layout import locations
    from lightning_robust.data.imagenet.mistakes import set_itself, with_shared_places
    from lightning_robust.data.imagenet.published import SETS, published

    with from_user(ValueError):
        names = list(dict.fromkeys(args.sets or SETS))
        for name in names:
            published(name, args.v2)
        where = locations(args.folder, _places(args.path), args.v2)
        itself = None if any(where.values()) else set_itself(args.folder, names, args.v2)
    if itself is not None:
        raise UserError(itself)
    if idle := [name for name in _places(args.path) if name not in names]:
        raise UserError(f"--path {idle[0]}=… has no effect, since --sets leaves {idle[0]} out")
    if args.download and not any(str(place).startswith("hub:") for place in where.values()):
        raise UserError("--download has no effect without a set of the Hub, such as --path r=hub:ID:SPLIT")
    console = Console()
    checks = []
    for name in names:
        with console.status(escape(f"{published(name, args.v2).title}: {where[name] or 'nowhere'}")):
            checks.append(check_set(name, where[name], v2=args.v2, n_open=args.n_open, download=args.download))
    checks = with_shared_places(checks)
    _print(checks, args.folder, console)
    return 1 if any(check.problems for check in checks) else 0


def _places(texts: list[str]) -> dict[str, str]:
    places: dict[str, str] = {}
    for text in texts:
        name, equals, where = text.partition("=")
        if not equals or not where or name in places:
            raise UserError(f"--path takes SET=WHERE, each set once, such as r=/data/imagenet-r; got {text!r}")
        places[name] = where
    return places


def _print(checks: list[Any], root: Path, console: Any) -> None:
    from rich.table import Table

    table = Table()
    table.add_column("set", no_wrap=True)
    for name in ("images", "published", "classes", "opened"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for check in checks:
        table.add_row(
            check.facts.title.removeprefix("ImageNet-"),
            f"{check.images:,}",
            f"{check.facts.images[0]:,}",
            f"{check.classes}/{check.facts.classes}",
            f"{check.opened:,}",
            "whole" if not check.problems else "missing" if check.where is None else "wrong",
        )
    console.print(table)
    for check in checks:
        place = "" if check.where is None else f" ({_below(root, check.where)})"
        for sentence in check.problems:
            _say(console, f"{check.facts.title}{place}: {sentence}.")
        for sentence in check.notes:
            _say(console, f"{check.facts.title}{place}, to know: {sentence}.")
    wrong = [check.facts.title for check in checks if check.problems]
    if wrong:
        _say(console, f"{len(wrong)} of {len(checks)} sets are missing or wrong: {', '.join(wrong)}.")
    else:
        _say(console, "Everything asked for is there and as published.")


def _say(console: Any, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _below(root: Path, where: str) -> str:
    """A place as a person wrote it: relative to the folder that was named, where it is in it."""
    top = root.expanduser()
    return str(Path(where).relative_to(top)) if Path(where).is_relative_to(top) else where
