"""The arguments of `diagnose`, without torch."""

import argparse
from pathlib import Path

from lightning_robust.cli.argument_types import positive, seed


def add_diagnose(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `diagnose`.

    Args:
        parser: Its parser.
    """
    parser.add_argument(
        "--model",
        nargs="+",
        metavar="MODEL",
        help="models whose robustness is predicted from reference images alone: scenes-clip, scenes-supervised, "
        "untrained:MODEL, local-dir:FOLDER, ARCHITECTURE/TAG of open_clip, timm:NAME, a file of a run, or a run's "
        "folder: every α of its Wise-FT path",
    )
    parser.add_argument(
        "--study",
        metavar="STUDY",
        help="the table of measured models that predictions are made from: the folder or study.json of a study, a file "
        "of --save, or scenes, which ships (default: scenes, for its images); without --model the table is judged: "
        "how good a diagnosis from it is",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="whose reference images are looked at, as evaluate takes it: scenes, imagenet:FOLDER, or a config with a "
        "data: section; those that the study was measured on (default: scenes)",
    )
    parser.add_argument("--split", choices=("test", "val"), help="which of them (default: test, as in a study)")
    parser.add_argument("--max_images", type=positive, metavar="N", help="at most so many images (default: all)")
    parser.add_argument("--batch_size", type=positive, metavar="N", help="images in a batch (default: 128)")
    parser.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of everything random (default: 0)")
    parser.add_argument(
        "--level",
        type=_level,
        metavar="SHARE",
        help="share of the prediction intervals that is to hold what would be measured, where they are made of a "
        "study's table (default: 0.9)",
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep what a study's table gives, for --study FILE")
    parser.add_argument("--download", action="store_true", help="let the data module fetch what is not here")
    parser.add_argument("--run_name", metavar="NAME", help="folder below checkpoints/diagnose (default: a number)")


def _level(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.5 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0.5 to below 1, such as 0.9")
    return share
