"""The arguments of every command that judges models: baseline, how images are read, device, seed. No torch."""

import argparse

from lightning_robust.cli.argument_types import not_negative, positive, seed
from lightning_robust.cli.fit_baseline_arguments import add_fit_options


def add_judging_options(parser: argparse.ArgumentParser) -> None:
    """Add what models are judged by, and where and how they run.

    Args:
        parser: A parser.
    """
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
