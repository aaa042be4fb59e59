"""`diagnose`: effective robustness predicted from reference images alone, with how far to trust the prediction."""

import argparse
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from lightning_robust.cli.run_folder import new_run_folder, refuse_unwritable
from lightning_robust.errors import UserError, from_user
from lightning_robust.results.diagnosis_record import CalibrationRecord, write_calibration, write_diagnosis
from lightning_robust.results.names import RESULTS

__all__ = ["run"]

_COMMAND: Final = "diagnose"
#: What says how models are measured.
_MEASURING: Final = ("data", "split", "max_images", "batch_size", "device")
_SCENES: Final = "scenes"
_LEVEL: Final = 0.9


def run(args: argparse.Namespace) -> int:
    """Diagnose models, or judge the table that diagnoses are made from.

    Raises:
        UserError: For a model, table, images or a setting that cannot be had, before anything is written.
    """
    _check(args)
    refuse_unwritable(_COMMAND, args.run_name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        write = _table(args) if args.model is None else _models(args)
    for sentence in dict.fromkeys(str(one.message) for one in said):
        print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
    folder = new_run_folder(_COMMAND, args.run_name)
    from lightning_robust.cli.show_measured import show_measured

    try:
        write(folder)
        show_measured(folder, folder / RESULTS)
    except BaseException:  # nothing half-written stays, also after Ctrl-C
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if args.save is not None:
        print(f"Kept for --study: {args.save}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.model is None and args.study is None:
        raise UserError("give --model MODEL to have it diagnosed, or --study STUDY to have a table judged")
    given = [name for name in _MEASURING if getattr(args, name) is not None] + ["download"] * args.download
    if args.model is None and given:
        raise UserError(f"--{given[0]} has no effect without --model, as nothing is measured: leave it out")
    if args.save is None:
        return
    if args.save.suffix != ".json":
        raise UserError(f"--save keeps a table as a .json file, got {args.save}")
    if args.save.is_dir() or not args.save.absolute().parent.is_dir():
        raise UserError(f"cannot write {args.save}: its folder is not there, or it is a folder itself")


def _calibration(args: argparse.Namespace) -> tuple[CalibrationRecord, str]:
    from lightning_robust.robustness.calibration_files import is_study, load_calibration

    name = args.study
    if name is None:
        if args.data not in (None, _SCENES):
            raise UserError(
                f"a diagnosis on {args.data} needs a table of models measured on these data: make one with "
                "`lightning-robust study --config CONFIG` and give its folder, --study FOLDER"
            )
        name = _SCENES
    if not is_study(name):
        for option in ("save", "level"):
            if getattr(args, option) is not None:
                raise UserError(
                    f"--{option} is for the table of a study and has no effect on {name}, a calibration already"
                )
    return load_calibration(name, seed=args.seed, level=args.level or _LEVEL)


def _table(args: argparse.Namespace) -> Callable[[Path], None]:
    calibration, _ = _calibration(args)

    def write(folder: Path) -> None:
        write_calibration(calibration, folder / RESULTS)
        _save(args, calibration)

    return write


def _models(args: argparse.Namespace) -> Callable[[Path], None]:
    from lightning_robust.cli.data_spec import data_settings, open_data
    from lightning_robust.cli.evaluate_asked import asked_models
    from lightning_robust.cli.evaluate_splits import divided_otherwise

    asked = asked_models(args.model)
    calibration, calibration_hash = _calibration(args)
    name = args.data or _SCENES
    data = open_data(name, download=True if args.download else None)
    _check_data(data.description, calibration)
    with from_user(ValueError):
        files = [file for one in asked for file in (one.path.values() or (one.name,))]
        sentences = divided_otherwise(files, data_settings(name))
    from lightning_robust.cli.diagnose_measured import measure_models
    from lightning_robust.cli.diagnose_record import diagnosis_record

    measured = measure_models(args, asked, data)
    with from_user(ValueError):
        record = diagnosis_record(measured, calibration)
    record = replace(record, calibration_hash=calibration_hash, conventions=(*record.conventions, *sentences))
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=2)

    def write(folder: Path) -> None:
        write_diagnosis(record, folder / RESULTS)
        _save(args, calibration)

    return write


def _check_data(description: str, calibration: CalibrationRecord) -> None:
    """Refuse what cannot be compared: figures of one world among those of another."""
    if calibration.data.dataset != description:
        raise UserError(
            f"the table {calibration.name} is of {calibration.data.dataset} and these data are {description}: "
            "give --data or --study of the same"
        )


def _save(args: argparse.Namespace, calibration: CalibrationRecord) -> None:
    if args.save is not None:
        with from_user(OSError):
            write_calibration(calibration, args.save)
