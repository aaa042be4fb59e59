"""`emergence`: several pretrainings with the same monitors, and one comparison of how robustness rises in them."""

import argparse
import sys
from pathlib import Path

from lightning_robust.cli.emergence_images import images_per_step
from lightning_robust.cli.emergence_plan import PlannedRun, plan_runs, refuse_other_settings
from lightning_robust.cli.emergence_training import train_runs
from lightning_robust.cli.run_folder import ROOT
from lightning_robust.errors import UserError
from lightning_robust.results.emergence_record import EmergenceRecord, write_emergence
from lightning_robust.results.table_file import write_table

#: Names of the files of a comparison.
RECORD, POINTS, CURVES, ONSETS = "emergence.json", "emergence.csv", "emergence", "onsets"
#: Folder of what the trainings print.
LOGS = "logs"
_FAILED = 1


def run(args: argparse.Namespace) -> int:
    """Train what is not finished, then write and print the comparison of what is.

    Returns:
        0, or 1 where a run failed; the others are compared all the same.

    Raises:
        UserError: For a setting that cannot work, a run that was begun with other settings, or nothing to compare.
        KeyboardInterrupt: When interrupted; what was trained is kept.
    """
    runs = plan_runs(args.seeds, args.variants, args.configs, args.run_name)
    for one in runs:
        refuse_other_settings(one)
    folder = Path(ROOT).absolute() / "emergence" / args.run_name
    failed: dict[str, str] = {}
    if not args.report_only:
        for one in (run for run in runs if not run.finished):
            images_per_step(one.settings(), one.label)
            one.refuse_foreign_folder(folder / LOGS / one.log)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            failed = train_runs(runs, args.jobs, folder / LOGS)
        except KeyboardInterrupt:
            print("What was trained is kept: the same command goes on from there.", file=sys.stderr)
            raise
        for label, said in failed.items():
            print(f"\n{label} failed with {said}", file=sys.stderr)
    finished = [one for one in runs if one.finished]
    if not finished and failed:
        return _FAILED
    if not finished:
        raise UserError(
            f"no run of the comparison {args.run_name!r} is finished: leave --report_only out to train them"
        )
    missing = {one.label: "it failed" if one.label in failed else "not finished" for one in runs if not one.finished}
    _report(finished, missing, folder)
    return _FAILED if failed else 0


def _report(finished: list[PlannedRun], missing: dict[str, str], folder: Path) -> None:
    from rich.console import Console

    from lightning_robust.cli.emergence_collect import collect_runs
    from lightning_robust.report.emergence_table import emergence_rows, print_emergence

    record = collect_runs(finished, missing)
    folder.mkdir(parents=True, exist_ok=True)
    write_emergence(record, folder / RECORD)
    write_table(folder / POINTS, emergence_rows(record))
    _draw(record, folder)
    print_emergence(record, folder, Console())


def _draw(record: EmergenceRecord, folder: Path) -> None:
    from lightning_robust.report.emergence_figure import emergence_figure
    from lightning_robust.report.emergence_onset_figure import onset_figure
    from lightning_robust.report.scatter import write_scatter

    for name, figure in ((CURVES, emergence_figure(record)), (ONSETS, onset_figure(record))):
        for ending in (".png", ".svg"):
            write_scatter(figure, folder / f"{name}{ending}")
