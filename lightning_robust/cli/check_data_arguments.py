"""The arguments of `check-data`, without torch."""

import argparse
from pathlib import Path


def add_check_data(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `check-data`.

    Args:
        parser: Its parser.
    """
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="the folder that holds train, val and the folders of the shifts as they are unpacked",
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        metavar="SET",
        help="which of train, val, v2, r, sketch, objectnet and a are to be there (default: all)",
    )
    parser.add_argument(
        "--v2", default="matched-frequency", metavar="VARIANT",
        help="matched-frequency, threshold0.7 or top-images (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--path",
        action="append",
        default=[],
        metavar="SET=WHERE",
        help="where a set is if not below FOLDER: a folder, parquet:FILES, webdataset:FILES, csv:FILE, hub:ID[:SPLIT]",
    )
    parser.add_argument(
        "--open", type=_count, default=100, metavar="N", dest="n_open",
        help="images of each set that are opened, evenly spaced over it (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--download", action="store_true", help="fetch data sets of the Hub that are not here")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)
