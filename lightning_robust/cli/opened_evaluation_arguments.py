"""The arguments that `prune`, `compress` and `ablate` share: data, baseline, and which images calibrate. No torch."""

import argparse

from lightning_robust.cli.argument_types import not_negative, positive, seed
from lightning_robust.cli.fit_baseline_arguments import add_fit_options

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
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="effective robustness against imagenet, scenes, a file of fit-baseline, or none (default: what ships for "
        "the data)",
    )
    add_fit_options(parser)
    parser.add_argument("--batch_size", type=positive, metavar="N", help="images in a batch (default: the data's)")
    parser.add_argument(
        "--num_workers", type=not_negative, metavar="N", help="processes that read (default: the data's)"
    )
    parser.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of intervals and untrained weights (0)")
    parser.add_argument("--download", action="store_true", help="let the data module fetch what is not here")
    parser.add_argument(
        "--run_name", metavar="NAME", help="folder below checkpoints/<command> (default: the next free number)"
    )
