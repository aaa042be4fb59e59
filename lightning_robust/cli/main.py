"""The dispatcher: it knows the commands by name and imports the one that runs."""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from lightning_robust import __version__
from lightning_robust.cli.commands import LIGHTNING_COMMANDS, OWN_COMMANDS
from lightning_robust.cli.config_lookup import resolve_configs
from lightning_robust.cli.refusals import refusal
from lightning_robust.errors import UserError

__all__ = ["main"]

_PROGRAM = "lightning-robust"
_TRACEBACK = "LIGHTNING_ROBUST_TRACEBACK"
_BAD_INPUT, _INTERRUPTED = 2, 130


class _Parser(argparse.ArgumentParser):
    """An argparse parser that answers bad input with one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (try: {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit status: 0 when all went well, 2 for bad input (one sentence on stderr, no traceback unless the
        environment has LIGHTNING_ROBUST_TRACEBACK=1 or ``--traceback`` stands first), 130 when interrupted (Lightning
        ends an interrupted fit itself, with status 1; what it had saved is kept).

    Raises:
        Exception: whatever a bug raises, with its traceback.
        SystemExit: from ``--help`` and ``--version``, and from LightningCLI's own parser.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    keep_traceback = os.environ.get(_TRACEBACK, "") not in ("", "0")
    if arguments[:1] == ["--traceback"]:
        arguments, keep_traceback = arguments[1:], True
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        print(f"{_PROGRAM}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        sentence = refusal(error)
        if sentence is None:
            raise
        if keep_traceback:
            traceback.print_exception(error)
        print(f"{_PROGRAM}: error: {sentence}", file=sys.stderr)
        return _BAD_INPUT


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in LIGHTNING_COMMANDS:
        arguments = resolve_configs(arguments)  # before torch is imported: a wrong name is answered at once
        return int(importlib.import_module("lightning_robust.cli.fit").run(arguments) or 0)
    args = _parser().parse_args(arguments)
    return int(importlib.import_module(f"lightning_robust.cli.{args.module}").run(args) or 0)


def _parser() -> _Parser:
    parser = _Parser(
        prog=_PROGRAM,
        description="Finetune or pretrain CLIP models and watch the signatures of robustness change while they train.",
        epilog=f"fit, validate and test are LightningCLI's: '{_PROGRAM} fit --help' lists their many options.",
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help=f"show where an error was raised (first, or set {_TRACEBACK}=1)"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in LIGHTNING_COMMANDS.items():  # dispatched before; here for the list of commands
        commands.add_parser(name, help=summary, add_help=False)
    for command in OWN_COMMANDS:
        own = commands.add_parser(command.name, help=command.summary, description=f"{command.summary}.")
        command.add_arguments(own)
        own.set_defaults(module=command.module)
    return parser
