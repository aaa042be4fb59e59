"""`fit-baseline`: a baseline of one's own from evaluations of standard models."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightning_robust.errors import UserError, from_user
from lightning_robust.results import EvaluationRecord, ModelAccuracies, collect_provenance, read_evaluation
from lightning_robust.results.baseline_record import write_baseline
from lightning_robust.results.names import RESULTS

__all__ = ["run"]

_VAL = "validation images (--split val)"


def run(args: argparse.Namespace) -> int:
    """Fit a baseline, write it, print its table and draw its scatter.

    Raises:
        UserError: the evaluations do not fit together, are too few, or a file cannot be written.
    """
    from rich.console import Console

    from lightning_robust.report.baseline_table import print_baseline
    from lightning_robust.report.scatter import scatter_figure, write_scatter
    from lightning_robust.report.shorten import short_paths
    from lightning_robust.robustness import Baseline
    from lightning_robust.robustness.measured import FEWEST, measured_models

    out, figure = _files(args)
    measured = measured_models(_records(args.evaluations, out), few=args.few)
    short = short_paths([model.name for model in measured.models])
    models = [replace(model, name=name) for model, name in zip(measured.models, short, strict=True)]
    _warn_of_zero_shot(measured.models)
    count = len(measured.models)
    few = f" (fewer than {FEWEST}: a rough line)" if count < FEWEST else ""
    on = measured.dataset if measured.split == "test" else f"{measured.dataset}, {_VAL}"
    if measured.split != "test":
        _warn(f"the evaluations are of {_VAL}: the line judges evaluate --split val, and no table of test images")
    with from_user(ValueError):
        baseline = Baseline.fit(
            models,
            n=measured.images,
            scale=args.scale or "logit",
            x=args.x or "full",
            aggregate=args.aggregate or "er",
            name=args.name or out.stem,
            protocols=measured.protocols,
            description=f"{count} standard models{few} on {on}",
            dataset=measured.dataset,
        )
        picture = scatter_figure(baseline)
    with from_user(OSError):
        write_baseline(baseline.to_record(collect_provenance()), out)
        write_scatter(picture, figure)
    print_baseline(baseline, Console())
    print(f"\nThe baseline, for --baseline and load_baseline: {out}\nIts scatter: {figure}")
    return 0


def _files(args: argparse.Namespace) -> tuple[Path, Path]:
    """Where to write, refused before anything is read."""
    out: Path = args.out
    figure: Path = args.figure or out.with_suffix(".png")
    if out.suffix.lower() != ".json":
        raise UserError(f"a baseline is a JSON file: give --out a name that ends in .json, not {out}")
    if figure.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"a scatter is a .png, .svg or .pdf: give --figure such a name, not {figure}")
    for file in (out, figure):
        with from_user(OSError):  # a name that is too long
            if not file.parent.is_dir():
                raise UserError(f"cannot write {file}: there is no folder {file.parent}")
            if file.is_dir():
                raise UserError(f"cannot write {file}: it is a folder")
    return out, figure


def _warn_of_zero_shot(models: Sequence[ModelAccuracies]) -> None:
    for model in models:
        if "zero-shot" in model.source:
            _warn(
                f"{model.name} has a zero-shot head: a baseline is of models trained with supervision on the reference "
                "alone"
            )


def _warn(sentence: str) -> None:
    print(f"lightning-robust: warning: {sentence}", file=sys.stderr)


def _records(places: list[Path], out: Path) -> dict[str, EvaluationRecord]:
    with from_user(OSError, RuntimeError):  # a name that is too long, a circle of links
        files = [place / RESULTS if place.is_dir() else place for place in places]
        resolved = [file.resolve() for file in files]
    if twice := [str(file) for k, file in enumerate(files) if resolved[k] in resolved[:k]]:
        raise UserError(f"{twice[0]} is named twice")
    if out.resolve() in resolved:
        raise UserError(f"--out would overwrite the evaluation {out}: give it another name")
    return {str(file): read_evaluation(file) for file in files}
