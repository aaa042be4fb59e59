"""`report`: one HTML page of everything that was measured, from result files alone."""

import argparse
from pathlib import Path

from lightning_robust.errors import UserError, from_user

_RUNS = "checkpoints"
_NAME = "report.html"


def run(args: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        UserError: If a folder has no results, they cannot be read, or the page cannot be written.
    """
    out = _out(args)
    below = None if args.alone else _below(args)

    from lightning_robust.report.html import find_sources  # matplotlib comes with it
    from lightning_robust.report.html.page import LARGEST, write_page

    found = find_sources(args.folder, args.others, second=args.second, below=below)
    with from_user(OSError):
        size = write_page(found, out)
    shown = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
    print(f"{out} ({shown}): open it in a browser")
    if size > LARGEST:
        print(f"It is larger than {LARGEST / 1e6:.0f} MB; --alone and --with choose what it shows.")
    return 0


def _out(args: argparse.Namespace) -> Path:
    folder: Path = args.folder
    out: Path = args.out or (folder if folder.is_dir() else folder.parent) / _NAME
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"a report is an HTML page: give --out a name that ends in .html, not {out}")
    if not out.parent.is_dir():
        missing = args.folder if args.out is None else out.parent
        raise UserError(f"there is no folder {missing}")
    return out


def _below(args: argparse.Namespace) -> Path | None:
    """Where runs lie: what was asked for, else the folder `checkpoints` that the run lies in, else the one here."""
    if args.below is not None:
        if not args.below.is_dir():
            raise UserError(f"there is no folder {args.below} to look below")
        return Path(args.below)
    lies_in = next((p for p in args.folder.resolve().parents if p.name == _RUNS), Path(_RUNS))
    return lies_in if lies_in.is_dir() else None
