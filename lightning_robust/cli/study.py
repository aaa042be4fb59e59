"""`study`: many models measured the same way, those that it makes trained first, and one table of them all."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_robust.cli.study_config import read_study_config
from lightning_robust.cli.study_context import StudyContext, open_context
from lightning_robust.cli.study_models import StudyModel
from lightning_robust.cli.study_run import run_study, trainings_of
from lightning_robust.cli.study_steps import study_folder
from lightning_robust.cli.study_train_task import TrainTask
from lightning_robust.errors import UserError

__all__ = ["run"]

_FAILED = 1


def run(args: argparse.Namespace) -> int:
    """Train and measure what is missing, then write and print the table of everything that is measured.

    Returns:
        0, or 1 where a step failed; the others are in the table all the same.

    Raises:
        UserError: For a study that cannot work, a run that was begun with other settings, or nothing measured.
        KeyboardInterrupt: When interrupted; what is measured is kept.
    """
    config = read_study_config(args.config, args.run_name)
    models = config.chosen(args.only, args.shard)
    if not models:
        raise UserError(f"no model of {config.file.name} is chosen by --only and --shard")
    folder = study_folder(config.name)
    if args.plan:
        from lightning_robust.cli.study_plan import print_plan

        return print_plan(config, models, folder)
    tasks = [task for model in models for task in trainings_of(model, folder)]
    _refuse_in_the_way([task for task in tasks if task.finished or not args.report_only])
    study = open_context(config)
    failed = {} if args.report_only else _measured(models, study, folder, args.jobs)
    return _report(study, folder, failed)


def _refuse_in_the_way(tasks: Sequence[TrainTask]) -> None:
    """Refuse all runs at once that nothing can be made of, before hours of work."""
    said = []
    for task in tasks:
        try:
            task.check()
        except UserError as error:
            said.append(str(error))
    if said:
        raise UserError(said[0] if len(said) == 1 else f"{len(said)} runs are in the way: {'; '.join(said)}")


def _measured(models: tuple[StudyModel, ...], study: StudyContext, folder: Path, jobs: int) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        failed = run_study(models, study, folder, jobs)
    except KeyboardInterrupt:
        print("What is trained and measured is kept: the same command goes on from there.", file=sys.stderr)
        raise
    for label, said in failed.items():
        print(f"\n{label} failed: {said}", file=sys.stderr)
    return failed


def _report(study: StudyContext, folder: Path, failed: dict[str, str]) -> int:
    from lightning_robust.cli.study_collect import collect_study
    from lightning_robust.cli.study_files import show_study, write_study_files

    found = collect_study(study, folder)
    if found.record is None:
        if failed:
            return _FAILED
        raise UserError(f"nothing of the study {study.config.name!r} is measured: leave --report_only out to do it")
    write_study_files(found.record, folder)
    show_study(found.record, folder)
    if found.missing:
        print(found.sentence(), file=sys.stderr)
    return _FAILED if failed else 0
