"""The project's own commands: name, help and arguments, without what they compute.

Each entry names a module of this room with a function ``run(args) -> int``. It is imported when the command runs and
not before, so that help and version answer without torch.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LIGHTNING_COMMANDS", "OWN_COMMANDS", "Command"]

LIGHTNING_COMMANDS = {
    "fit": "train a model, with the callbacks of its config",
    "validate": "evaluate on the validation loaders",
    "test": "evaluate on the test loaders",
}
"""The commands that LightningCLI parses: they are methods of its Trainer. ``cli/fit.py`` runs them."""


@dataclass(frozen=True)
class Command:
    """One of the project's own commands.

    Attributes:
        name: what the user types.
        summary: one line for the list of commands.
        module: module of this room whose ``run(args)`` does it.
        add_arguments: adds its arguments to its parser.
    """

    name: str
    summary: str
    module: str
    add_arguments: Callable[[argparse.ArgumentParser], None]


def _show(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    data = what.add_parser(
        "data",
        help="a contact sheet of every distribution of the scenes world",
        description="Write a contact sheet: a row of images of every distribution of the scenes world.",
    )
    data.add_argument(
        "--out",
        type=Path,
        default=Path("scenes.png"),
        metavar="FILE",
        help="the PNG file to write (default: %(default)s)",
    )

    run = what.add_parser(
        "run",
        help="the table and the picture of a finished run, from its files alone",
        description="Print the table of a finished run again and draw its curves again, from its files alone.",
    )
    run.add_argument("folder", type=Path, metavar="FOLDER", help="the run's folder, checkpoints/<config>/<run>")


def _probe(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model",
        metavar="MODEL",
        help="scenes-clip, scenes-supervised, local-dir:FOLDER, ARCHITECTURE/TAG of open_clip, timm:NAME, or a file of "
        "a finished run (…/wise_ft/alpha=0.50.safetensors, …/last.ckpt); untrained:MODEL has random weights",
    )
    what.add_argument(
        "--compare", nargs="+", metavar="MODEL", help="two or more models, or folders of earlier probes, side by side"
    )
    parser.add_argument(
        "--images",
        default="scenes",
        metavar="IMAGES",
        help="scenes, a folder of images, parquet:FILE or hub:ID[:SPLIT] (default: %(default)s)",
    )
    parser.add_argument(
        "--concepts",
        metavar="SET",
        help="a concept set: scenes, broden:FOLDER, csv:FILE, hub:ID[:SPLIT] or parquet:FILE, options of each after a "
        "question mark, as in broden:FOLDER?split=val&min_area=0.01 (default: none)",
    )
    parser.add_argument(
        "--layers", nargs="+", metavar="LAYER", help="layers beside h, wildcards allowed (default: stages or blocks)"
    )
    parser.add_argument(
        "--pool", choices=("mean", "first"), default="mean", help="how tokens become one vector (default: %(default)s)"
    )
    parser.add_argument("--classes", type=Path, metavar="FILE", help="class names for a CLIP's head, one on each line")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="state dict of a timm network")
    parser.add_argument("--max_images", type=_positive, metavar="N", help="at most so many images (default: all)")
    parser.add_argument("--batch_size", type=_positive, default=128, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (default: %(default)s)")
    parser.add_argument("--download", action="store_true", help="fetch data sets of the Hub that are not here")
    parser.add_argument("--run_name", metavar="NAME", help="folder below checkpoints/probe (default: a number)")


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


OWN_COMMANDS = (
    Command("probe", "every signature of one model, or of several side by side", "probe", _probe),
    Command("show", "look at the data, or at a finished run", "show", _show),
)
