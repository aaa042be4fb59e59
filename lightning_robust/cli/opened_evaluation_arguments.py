"""The arguments that `prune`, `compress` and `ablate` share: data, baseline, and which images calibrate. No torch."""

import argparse

from lightning_robust.cli.judging_arguments import add_judging_options

CALIBRATIONS = ("other", "half")


def add_evaluation_options(parser: argparse.ArgumentParser) -> None:
    """Add the data that models are judged on, what judges them, and where to run.

    Args:
        parser: A parser.
    """
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="as for evaluate: scenes, imagenet:FOLDER[?shifts=v2,r], or a config whose data: section names the data",
    )
    parser.add_argument(
        "--split", choices=("test", "val"), default="test", help="the images that are judged (default: %(default)s)"
    )
    parser.add_argument(
        "--calibration",
        choices=CALIBRATIONS,
        default=CALIBRATIONS[0],
        help="reference images that everything is chosen and estimated on: those of the other split, or (half) every "
        "second judged one, which is then not judged (default: %(default)s)",
    )
    add_judging_options(parser)
    parser.add_argument(
        "--run_name", metavar="NAME", help="folder below checkpoints/<command> (default: the next free number)"
    )
