"""`show`: the data as a picture, a finished run as table and picture, a baseline as table and scatter."""

import argparse
from pathlib import Path

from lightning_robust.errors import UserError


def run(args: argparse.Namespace) -> int:
    """Show the data, a run or a baseline.

    Raises:
        UserError: If a file cannot be written, or the run's files are not there.
    """
    if args.what == "run":
        _show_run(args.folder)
    elif args.what == "baseline":
        from lightning_robust.cli.show_baseline import show_baseline

        show_baseline(args)
    else:
        _show_data(args.out)
    return 0


def _show_data(out: Path) -> None:
    from lightning_robust.data.scenes.sheet import write_contact_sheet  # torch is only imported where it is needed

    if out.suffix.lower() != ".png":
        raise UserError(f"the contact sheet is a PNG: give --out a name that ends in .png, not {out}")
    try:
        write_contact_sheet(out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    print(f"One row for each distribution of the scenes world: {out}")


def _show_run(folder: Path) -> None:
    from lightning_robust.cli.show_measured import show_measured
    from lightning_robust.results.names import RESULTS

    if not show_measured(folder, folder / RESULTS):
        _show_training(folder)


def _show_training(folder: Path) -> None:
    from rich.console import Console

    from lightning_robust.report import curves_figure, print_run
    from lightning_robust.report.path_scatter import write_path_scatter
    from lightning_robust.results import read_curves, read_run
    from lightning_robust.results.names import CURVES, PICTURE, RESULTS

    record = read_run(folder / RESULTS)
    if (folder / CURVES).is_file():
        curves_figure(read_curves(folder / CURVES), folder / PICTURE)
    write_path_scatter(record, folder)
    print_run(record, folder, Console())
