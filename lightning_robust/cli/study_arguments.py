"""The arguments of `study`, without torch."""

import argparse

from lightning_robust.cli.argument_types import positive


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `study`.

    Args:
        parser: Its parser.
    """
    parser.description = (
        "Measure many models the same way, train those that the study makes, and write one table: study.json, "
        "study.csv, study.parquet and figures in checkpoints/study/<name>. Stop it whenever you like: the same command "
        "skips what is done, goes on with what was broken off and tries again what failed."
    )
    parser.add_argument(
        "--config", required=True, metavar="STUDY",
        help="what is measured: a file, or study/scenes, study/paper, study/revision, which ship",
    )  # fmt: skip
    parser.add_argument(
        "--run_name", metavar="NAME",
        help="name of the study, and of its trained runs (default: the file's own)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="steps at a time, one thread each (default: %(default)s)"
    )
    parser.add_argument(
        "--shard", type=_shard, metavar="I/N",
        help="only every N-th model, beginning with the I-th: 1/4 … 4/4 on four machines with one folder, or in an "
        "array of SLURM",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", metavar="TEXT", default=[], help="only models whose names contain a TEXT")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--plan", action="store_true",
        help="do nothing: say what would be loaded, what is missing where, what is done, and how long the rest takes",
    )  # fmt: skip
    what.add_argument(
        "--report_only", "--report-only", action="store_true", help="do nothing: write the table of what is finished"
    )


def _shard(text: str) -> tuple[int, int]:
    """`I/N` as two numbers, I from 1 to N."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard: I/N, as in 2/4, with I from 1 to N")
    return int(index), int(count)
