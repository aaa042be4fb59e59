"""The arguments of `emergence`, without torch."""

import argparse
from pathlib import Path

from lightning_robust.cli.argument_types import positive, seed


def add_emergence(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `emergence`.

    Args:
        parser: Its parser.
    """
    parser.description = (
        "Pretrain contrastively and supervised, on broad and on reference data, with the same monitors at log-spaced "
        "steps, and compare how accuracy, effective robustness and signatures rise. Runs lie in "
        "checkpoints/<variant>/<run_name>-seed<seed>, the comparison in checkpoints/emergence/<run_name>. Stop it "
        "whenever you like: the same command skips what is done and goes on with what was broken off."
    )
    parser.add_argument(
        "--seeds", nargs="+", type=seed, default=[0, 1, 2], metavar="N",
        help="seeds of weights, images and order (default: 0 1 2)",
    )  # fmt: skip
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="configs to compare (default: all of the folder)")
    parser.add_argument(
        "--jobs", type=positive, default=2, metavar="N", help="runs at a time, one thread each (default: %(default)s)"
    )
    parser.add_argument(
        "--run_name", default="001", metavar="NAME", help="name of the comparison (default: %(default)s)"
    )
    parser.add_argument(
        "--configs", type=Path, metavar="FOLDER",
        help="folder of configs, a variant each (default: the four that ship, configs/emergence)",
    )  # fmt: skip
    parser.add_argument(
        "--report_only", "--report-only", action="store_true", help="train nothing: report the runs that are finished"
    )
