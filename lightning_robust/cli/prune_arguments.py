"""The arguments of `prune`, without torch."""

import argparse

from lightning_robust.cli.argument_types import positive
from lightning_robust.cli.opened_evaluation_arguments import add_evaluation_options

NONE = "none"
"""Leaves the supervised twin out."""


def add_prune(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `prune`.

    Args:
        parser: Its parser.
    """
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="one or several, as evaluate takes them: scenes-clip, ARCHITECTURE/TAG, timm:NAME, untrained:MODEL, a "
        "file of a run, or a run's folder (every α of its Wise-FT path, or those of --alpha)",
    )
    parser.add_argument(
        "--alpha", nargs="+", type=_alpha, metavar="ALPHA", help="which α of the paths (default: all that have a file)"
    )
    parser.add_argument(
        "--supervised",
        metavar="MODEL",
        help="the supervised twin, a control: a model of the same classes that was trained on labels alone, or none "
        "(default: scenes-supervised for the scenes world)",
    )
    parser.add_argument(
        "--seeds",
        type=positive,
        default=5,
        metavar="N",
        help="draws of each random control, from --seed on (default: %(default)s)",
    )
    parser.add_argument(
        "--points",
        type=_points,
        default=1.0,
        metavar="P",
        help="accuracy points that the headline may lose (default: %(default)s)",
    )
    add_evaluation_options(parser)


def _alpha(text: str) -> float:
    number = _number(text)
    if number is None or not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an α in [0, 1]")
    return number


def _points(text: str) -> float:
    number = _number(text)
    if number is None or not 0 <= number < 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of accuracy points, from 0 to below 100")
    return number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
