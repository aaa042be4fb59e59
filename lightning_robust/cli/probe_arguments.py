"""The arguments of `probe`, without torch."""

import argparse
from pathlib import Path

from lightning_robust.cli.argument_types import positive, seed


def add_probe(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `probe`.

    Args:
        parser: Its parser.
    """
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model",
        metavar="MODEL",
        help="scenes-clip, scenes-supervised, local-dir:FOLDER, ARCHITECTURE/TAG of open_clip, timm:NAME, or a file of "
        "a finished run (…/wise_ft/alpha=0.50.safetensors, …/last.ckpt); untrained:MODEL has random weights; or the "
        "step checkpoints of a run (…/steps, or its folder): curves over steps, measured as its monitors did",
    )
    what.add_argument(
        "--compare", nargs="+", metavar="MODEL", help="two or more models, or folders of earlier probes, side by side"
    )
    parser.add_argument(
        "--images",
        metavar="IMAGES",
        help="scenes, a folder of images, parquet:FILE or hub:ID[:SPLIT] (default: scenes; for steps of a run in the "
        "scenes world its validation images)",
    )
    parser.add_argument(
        "--concepts",
        metavar="SET",
        help="a concept set: scenes, broden:FOLDER, csv:FILE, hub:ID[:SPLIT] or parquet:FILE, options of each after a "
        "question mark, as in broden:FOLDER?split=val&min_area=0.01 (default: none; for steps of a run the one that "
        "its monitors looked at)",
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="layers beside h, wildcards allowed (default: stages or blocks; for steps those of the run's monitors)",
    )
    parser.add_argument(
        "--pool", choices=("mean", "first"), help="how tokens become one vector (default: mean, or the run's)"
    )
    parser.add_argument("--classes", type=Path, metavar="FILE", help="class names for a CLIP's head, one on each line")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="state dict of a timm network")
    parser.add_argument("--max_images", type=positive, metavar="N", help="at most so many images (default: all)")
    parser.add_argument("--batch_size", type=positive, metavar="N", help="(default: 128, or the run's)")
    parser.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 … (default: cuda where there is one)")
    parser.add_argument("--seed", type=seed, metavar="N", help="of everything random (default: 0, or the run's)")
    parser.add_argument("--download", action="store_true", help="fetch data sets of the Hub that are not here")
    parser.add_argument("--run_name", metavar="NAME", help="folder below checkpoints/probe (default: a number)")
