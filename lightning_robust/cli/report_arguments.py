"""Arguments of ``report``."""

import argparse
from pathlib import Path

__all__ = ["add_report"]


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``report``.

    Args:
        parser: the command's parser.
    """
    parser.description = (
        "Write one self-contained HTML page from the result files of a run: verdict, accuracy and effective "
        "robustness, signatures, pruning, concepts, provenance. It needs no model and no network."
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a finished run's folder, checkpoints/<config>/<run>, or a study's"
    )
    parser.add_argument(
        "second", type=Path, nargs="?", metavar="FOLDER2", help="another, whose model stands beside the first"
    )
    parser.add_argument(
        "--with",
        type=Path,
        nargs="+",
        default=[],
        dest="others",
        metavar="FOLDER",
        help="more folders of the same model: of evaluate, probe, prune, compress, ablate, diagnose",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--below",
        type=Path,
        metavar="FOLDER",
        help="where to look for what else was measured on the same weights (default: the checkpoints folder that the "
        "run lies in)",
    )
    where.add_argument("--alone", action="store_true", help="show the named folders alone, look nowhere else")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the HTML file to write (default: report.html in FOLDER)"
    )
