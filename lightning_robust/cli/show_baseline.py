"""`show baseline`: the lines of a baseline, its scatter, and what published models reach above it."""

import argparse
from pathlib import Path
from typing import Any

from lightning_robust.errors import UserError, from_user
from lightning_robust.results import write_table

__all__ = ["show_baseline"]


def show_baseline(args: argparse.Namespace) -> None:
    """Print a baseline, and write its scatter or table where asked.

    Args:
        args: ``name``, ``scale``, ``x``, ``aggregate``, ``zoo``, ``out``.

    Raises:
        UserError: there is no such baseline, an option does not fit it, or the file cannot be written.
    """
    _check_out(args.out)
    from rich.console import Console

    from lightning_robust.report.baseline_table import print_baseline, print_zoo
    from lightning_robust.robustness import load_baseline
    from lightning_robust.robustness.zoo import zero_shot_zoo

    baseline = load_baseline(args.name, scale=args.scale, x=args.x, aggregate=args.aggregate)
    entries = zero_shot_zoo(baseline) if args.zoo else ()
    if args.out is not None:
        _write(baseline, entries, args.out)
    console = Console()
    print_baseline(baseline, console)
    if args.zoo:
        print_zoo(entries, console)
    if args.out is not None:
        print(f"\nWritten: {args.out}")


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix.lower() not in (".png", ".svg", ".pdf", ".csv"):
        raise UserError(f"--out is a scatter (.png, .svg, .pdf) or a table (.csv), got {out}")
    with from_user(OSError):  # a name that is too long
        out.is_dir()
    if not out.parent.is_dir():
        raise UserError(f"cannot write {out}: there is no folder {out.parent}")


def _write(baseline: Any, entries: Any, out: Path) -> None:
    from lightning_robust.report.baseline_table import baseline_rows, zoo_rows
    from lightning_robust.report.scatter import scatter_figure, write_scatter

    if out.suffix.lower() == ".csv":
        write_table(out, zoo_rows(entries) if entries else baseline_rows(baseline))
        return
    openai = [entry.accuracies for entry in entries if entry.accuracies.name.endswith("/openai")]
    others = [entry.accuracies for entry in entries if not entry.accuracies.name.endswith("/openai")]
    groups = {"OpenAI CLIP, zero-shot": openai, "other zero-shot models": others} if entries else {}
    write_scatter(scatter_figure(baseline, groups), out)
