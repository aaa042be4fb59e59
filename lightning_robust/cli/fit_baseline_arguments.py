"""The arguments of `fit-baseline` and of `show baseline`, without torch."""

import argparse
from pathlib import Path


def add_fit_baseline(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fit-baseline`.

    Args:
        parser: Its parser.
    """
    parser.add_argument(
        "evaluations",
        nargs="+",
        type=Path,
        metavar="EVALUATION",
        help="folders of evaluate, or their results.json: together at least 12 standard models on the same data",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file to write")
    parser.add_argument("--name", metavar="NAME", help="of the baseline in tables (default: the file's name)")
    parser.add_argument("--few", action="store_true", help="allow fewer than 12 models; the baseline says so")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="the scatter, .png, .svg or .pdf (default: beside --out, a .png)"
    )
    add_fit_options(parser)


def add_show_baseline(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `show baseline`.

    Args:
        parser: Its parser.
    """
    parser.add_argument("name", metavar="NAME", help="imagenet, scenes, or a file that fit-baseline wrote")
    parser.add_argument(
        "--zoo", action="store_true", help="judge the zero-shot models that open_clip publishes accuracies of"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="also write a scatter (.png, .svg, .pdf), or the models with their figures (.csv)",
    )
    add_fit_options(parser)


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Add what the line of a baseline is fitted by; without them a file's own settings, else logit, full and er.

    Args:
        parser: A parser.
    """
    parser.add_argument(
        "--scale", choices=("logit", "probit", "linear"), help="on which the baseline's line is straight (logit)"
    )
    parser.add_argument(
        "--x",
        choices=("full", "matched"),
        help="of the baseline: reference accuracy over all classes, or over a shift's (full)",
    )
    parser.add_argument(
        "--aggregate",
        choices=("er", "accuracy"),
        help="the mean over shifts: of their values, or of one line on the mean accuracy (er)",
    )
