"""`probe`: every signature of one model as tables, files and a picture; `--compare` sets models side by side."""

import argparse
import json
import sys
import warnings
from pathlib import Path

from lightning_robust.cli.probe_files import PICTURE, Found, write_comparison, write_model
from lightning_robust.cli.probe_measured import load_model, measured_model
from lightning_robust.cli.probe_steps_files import steps_folder
from lightning_robust.cli.run_folder import new_run_folder, refuse_unwritable
from lightning_robust.errors import UserError
from lightning_robust.results import read_probe
from lightning_robust.results.names import RESULTS
from lightning_robust.results.steps_record import STEPS_KIND

__all__ = ["load_model", "measured_model", "run"]

#: What says how to measure.
_MEASURING = (
    "images",
    "concepts",
    "layers",
    "pool",
    "classes",
    "weights",
    "max_images",
    "batch_size",
    "device",
    "seed",
)
_LETTERS = "ABCDEFGH"
#: What is taken where nothing is said, and no run says otherwise.
_DEFAULTS = {"images": "scenes", "pool": "mean", "batch_size": 128, "seed": 0}


def run(args: argparse.Namespace) -> int:
    """Probe one model, the step checkpoints of a run, or several models that are set side by side.

    Raises:
        UserError: For a model, images or a setting that cannot be had, before anything is written.
    """
    names = [args.model] if args.compare is None else list(args.compare)
    if args.compare is not None and not 2 <= len(names) <= len(_LETTERS):
        raise UserError(
            f"--compare takes 2 to {len(_LETTERS)} models or folders of earlier probes, got {len(names)}: {names}"
        )
    over_steps = _over_steps(args, names)
    if over_steps is not None:
        return over_steps
    refuse_unwritable("probe", args.run_name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        found = _found(args, names)
    for sentence in dict.fromkeys(str(one.message) for one in said):
        print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
    folder = new_run_folder("probe", args.run_name)
    lettered = {"": found[0]} if len(found) == 1 else dict(zip(_LETTERS, found, strict=False))
    for letter, one in lettered.items():
        own = folder / letter if letter else folder
        own.mkdir(exist_ok=True)
        write_model(one, own)
    if len(found) > 1:
        write_comparison(lettered, folder)
    from rich.console import Console

    from lightning_robust.report import print_probe, probe_figure

    records = {letter: one.record for letter, one in lettered.items()}
    probe_figure(records, folder / PICTURE)
    print_probe(records, folder, Console())
    return 0


def _over_steps(args: argparse.Namespace, names: list[str]) -> int | None:
    """Probe the step checkpoints of a run, or print such a probe again; None where no name stands for any."""
    for name in names:
        kind, folder = _kind(Path(name) / RESULTS), steps_folder(name)
        earlier = kind == STEPS_KIND
        if not earlier and (folder is None or kind == "probe"):
            if kind not in (None, "probe"):
                raise UserError(f"{name} holds no step checkpoints: name a file of this run, such as {name}/last.ckpt")
            continue
        if args.compare is not None:
            raise UserError(
                f"--compare sets single models side by side, and {name} holds many: give it to --model alone, or name "
                "one of its checkpoints, step=….safetensors"
            )
        from lightning_robust.cli.probe_steps import again, run_steps

        if folder is not None and not earlier:
            return run_steps(args, folder)
        _refuse_idle(args)
        return again(args)
    return None


def _kind(results: Path) -> str | None:
    """What kind of record a file says it is; None where there is none, or nothing that says so."""
    try:
        found = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kind = found.get("kind") if isinstance(found, dict) else None
    return kind if isinstance(kind, str) else None


def _found(args: argparse.Namespace, names: list[str]) -> list[Found]:
    """What is known already is read, everything else measured; every name is checked before the first pass."""
    known = {
        name: Found(read_probe(Path(name) / RESULTS), earlier=Path(name))
        for name in names
        if (Path(name) / RESULTS).is_file()
    }
    for name in names:
        if (Path(name) / "A" / RESULTS).is_file():
            raise UserError(f"{name} holds several probes side by side: name one of them, such as {Path(name) / 'A'}")
    if len(known) == len(names):
        _refuse_idle(args)
    for setting, value in _DEFAULTS.items():
        setattr(args, setting, value if getattr(args, setting) is None else getattr(args, setting))
    networks = {name: load_model(args, name) for name in names if name not in known}
    return [known[name] if name in known else measured_model(args, networks[name]) for name in names]


def _refuse_idle(args: argparse.Namespace) -> None:
    """Earlier probes are read as they are: what says how to measure would do nothing."""
    given = [name for name in (*_MEASURING, "download") if getattr(args, name) not in (None, False)]
    if given:
        raise UserError(f"--{given[0]} has no effect on earlier probes, which are read as they are; leave it out")
