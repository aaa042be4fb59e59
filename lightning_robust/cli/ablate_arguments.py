"""The arguments of `ablate`, without torch."""

import argparse

from lightning_robust.cli.argument_types import not_negative, positive
from lightning_robust.cli.opened_evaluation_arguments import add_evaluation_options

MOST, STAND_INS = 12, 4
"""Where no number is asked for: at most so many of what a rule finds, and so many where it finds none."""


def add_ablate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ablate`.

    Args:
        parser: Its parser.
    """
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="one model, as evaluate takes it: scenes-clip, scenes-supervised, ARCHITECTURE/TAG, timm:NAME, "
        "transformers:ID, untrained:MODEL, a file of a run (…/wise_ft/alpha=0.50.safetensors, …/last.ckpt)",
    )
    parser.add_argument(
        "--layer",
        metavar="LAYER",
        help="ablate features of an inner layer, at every position or token, such as encoder.visual.layer3; names are "
        "those of probe (default: h, which the head reads)",
    )
    parser.add_argument(
        "--features",
        type=not_negative,
        metavar="N",
        help="at most so many outlier features; where the rule finds none, the largest ones (default: all that the "
        f"rule finds, at most {MOST}; else the {STAND_INS} largest)",
    )
    parser.add_argument(
        "--directions",
        type=not_negative,
        metavar="N",
        help="likewise of privileged directions, of the raw and of the centred head; where none is privileged the "
        "most important ones (default: likewise; an inner layer has none)",
    )
    parser.add_argument(
        "--clip",
        type=_deviations,
        default=3.0,
        metavar="Z",
        help="standard deviations from its mean that clip leaves a unit (default: %(default)g)",
    )
    parser.add_argument(
        "--seeds",
        type=positive,
        default=5,
        metavar="N",
        help="draws of each random control, from --seed on (default: %(default)s)",
    )
    parser.add_argument(
        "--concepts",
        metavar="SET",
        help="concepts that the units rank: scenes, broden:FOLDER, csv:FILE, hub:ID[:SPLIT] or parquet:FILE, as probe "
        "takes them (default: none)",
    )
    parser.add_argument(
        "--images",
        type=not_negative,
        default=8,
        metavar="N",
        help="top images of each unit on the contact sheet (default: %(default)s)",
    )
    add_evaluation_options(parser)


def _deviations(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of standard deviations, 0 or more")
    return number
