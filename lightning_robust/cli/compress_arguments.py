"""The arguments of `compress`, without torch."""

import argparse

from lightning_robust.cli.argument_types import not_negative, positive
from lightning_robust.cli.opened_evaluation_arguments import add_evaluation_options

KEEP = (0.9, 0.75, 0.5, 0.35, 0.25)
"""Shares of the parameters that are kept where nothing else is asked for."""
CALIBRATION_IMAGES = 2000
"""Reference images that ranks and factors are estimated from where nothing else is asked for."""


def add_compress(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `compress`.

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
        "--keep",
        nargs="+",
        type=_share,
        default=list(KEEP),
        metavar="SHARE",
        help="shares of the parameters of image network and head that are kept, each above 0 and below 1 "
        f"(or of what --budget counts; default: {' '.join(f'{share:g}' for share in KEEP)})",
    )
    parser.add_argument(
        "--budget",
        choices=("parameters", "flops"),
        default="parameters",
        help="what --keep counts: parameters, or the multiplications of one image (default: %(default)s)",
    )
    parser.add_argument(
        "--finetune",
        type=not_negative,
        metavar="EPOCHS",
        help="epochs of finetuning on the data's training images after truncation, of the dense model too; 0 leaves it "
        "out (default: 1, where the data have at most 50,000 training images)",
    )
    parser.add_argument(
        "--finetune_lr",
        type=_above_zero,
        default=1e-4,
        metavar="RATE",
        help="highest learning rate of the finetuning (default: %(default)g)",
    )
    parser.add_argument(
        "--images",
        type=_two_or_more,
        default=CALIBRATION_IMAGES,
        metavar="N",
        help="calibration images, 2 or more, evenly spaced over those that --calibration names "
        "(default: at most %(default)s)",
    )
    parser.add_argument(
        "--latency_batch",
        nargs="+",
        type=positive,
        default=[1, 64],
        metavar="N",
        help="batch sizes that models are timed with, in turns (default: 1 64)",
    )
    add_evaluation_options(parser)


def _two_or_more(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 2: one image has no covariance")
    return int(text)


def _share(text: str) -> float:
    number = _number(text)
    if number is None or not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, above 0 and below 1")
    return number


def _above_zero(text: str) -> float:
    number = _number(text)
    if number is None or not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
