"""`probe` over the step checkpoints of a run: the curves that its monitors gave, or would have given."""

import argparse
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_robust.cli.class_names_file import class_names_in
from lightning_robust.cli.evaluate_device import named_device
from lightning_robust.cli.probe_steps_files import StepFile, steps_of
from lightning_robust.cli.run_folder import new_run_folder, refuse_unwritable
from lightning_robust.errors import UserError, from_user
from lightning_robust.results import DataDescription, ProbedLayer, collect_provenance, read_curves, write_table
from lightning_robust.results.names import CURVES, RESULTS
from lightning_robust.results.steps_record import StepsRecord, read_steps, write_steps

if TYPE_CHECKING:
    from lightning_robust.callbacks import SignatureMonitor
    from lightning_robust.cli.probe_steps_model import RunModel
    from lightning_robust.cli.probe_steps_run import WatchedRun
    from lightning_robust.cli.probing_steps import Watch

__all__ = ["again", "run_steps"]

_TABLE, _PICTURE = "probe-steps.csv", "curves.png"


def run_steps(args: argparse.Namespace, folder: Path) -> int:
    """Measure every checkpoint of a folder, then write table, picture and record, or nothing.

    Args:
        args: The arguments of `probe`.
        folder: Of the checkpoints.

    Raises:
        UserError: For checkpoints, images or a setting that cannot be had, before anything is written.
    """
    refuse_unwritable("probe", args.run_name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        record = _record(args, folder)
    for sentence in dict.fromkeys(str(one.message) for one in said):
        print(f"lightning-robust: warning: {sentence}", file=sys.stderr)
    return _finish(record, args.run_name)


def again(args: argparse.Namespace) -> int:
    """Print and draw an earlier probe of steps again, from its record alone.

    Args:
        args: The arguments of `probe`.

    Raises:
        UserError: If it cannot be read.
    """
    refuse_unwritable("probe", args.run_name)
    return _finish(read_steps(Path(args.model) / RESULTS), args.run_name)


def _finish(record: StepsRecord, name: str | None) -> int:
    from rich.console import Console

    from lightning_robust.report.steps_figure import steps_figure
    from lightning_robust.report.steps_table import print_steps
    from lightning_robust.results import atomic_path

    picture = steps_figure(record)
    folder = new_run_folder("probe", name)
    try:
        write_table(folder / _TABLE, record.rows())
        with atomic_path(folder / _PICTURE) as temporary:
            picture.savefig(temporary, format="png")
        write_steps(record, folder / RESULTS)
    except BaseException:  # an interruption too: all of the files or none
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print_steps(record, folder, Console())
    return 0


def _record(args: argparse.Namespace, folder: Path) -> StepsRecord:
    import torch

    from lightning_robust.cli.probe_steps_run import watched_run
    from lightning_robust.cli.probing_steps import agreement, probe_steps
    from lightning_robust.models.encoders import load_encoder

    if args.weights is not None:
        raise UserError("--weights is for networks of timm, it has no effect on the checkpoints of a run; leave it out")
    files = steps_of(folder)
    run = watched_run(files[0].path)
    device = named_device(args.device)
    with from_user(RuntimeError, AssertionError):  # a device that torch was built without
        torch.empty(0, device=device)
    with from_user(ValueError):
        encoder = load_encoder(run.encoder, pretrained=False)
    model = _model(args, run, encoder, files[0])
    watches = _watches(args, run, model, encoder.transform)
    with from_user(ValueError, RuntimeError), _progress(len(files)) as tell:
        points, forms = probe_steps(files, model, watches, device, tell)
    own = all(watch.images.own for watch in watches) and args.pool is args.seed is args.classes is None
    curves = run.folder / CURVES
    monitors = [monitor for watch in watches for monitor in watch.monitors]
    return StepsRecord(
        provenance=collect_provenance(device=device),
        seeds={f"rotations and permutations of {_kinds(monitor)}": monitor.seed for monitor in monitors},
        run=str(folder),
        origin=f"{run.kind}, architecture of {run.encoder}",
        parameters=sum(p.numel() for p in model.parameters()),
        classes=len(model.head_weight()) if hasattr(model, "head_weight") else 0,
        data=DataDescription(
            dataset=args.images or f"the run's own, {run.data[0]}",
            protocol="the model's own preprocessing",
            images={watch.images.source: watch.images.images for watch in watches},
        ),
        conventions=_conventions(run, watches, model),
        representation=model.representation_layer,
        layers=tuple(ProbedLayer(name=name, form=form.words, d=form.d) for name, form in forms.items()),
        points=tuple(points),
        agreement=agreement(points, curves) if own and curves.is_file() and read_curves(curves) else None,
    )


def _model(args: argparse.Namespace, run: "WatchedRun", encoder: Any, first: StepFile) -> "RunModel":
    from lightning_robust.cli.probe_steps_model import RunModel

    if args.classes is not None and first.head is not None:
        raise UserError(f"class names are for the zero-shot head of a CLIP; {first.path} has a head of its own")
    texts = None
    if args.classes is not None:
        texts = (class_names_in(args.classes), ["a photo of a {}."])
    elif first.head is None and encoder.has_text:
        scenes = run.scenes(encoder.transform)
        names = run.class_names or (scenes.class_names if scenes is not None else None)
        templates = run.templates or (scenes.templates if scenes is not None else None)
        texts = None if names is None else (names, templates or ["a photo of a {}."])
    return RunModel(encoder, first, texts)


def _watches(
    args: argparse.Namespace, run: "WatchedRun", model: "RunModel", transform: Callable[[Any], Any]
) -> list["Watch"]:
    """The run's monitors as the arguments want them, with their images; every name is checked before the first pass."""
    from lightning_robust.callbacks import ConceptMonitor, SignatureMonitor
    from lightning_robust.callbacks.sources import CONCEPTS
    from lightning_robust.cli.probe_steps_images import concept_images, plain_images
    from lightning_robust.cli.probing_steps import Watch
    from lightning_robust.models.network import blocks_of

    h = model.representation_layer
    monitors = [monitor for monitor in run.monitors if monitor.images != CONCEPTS]
    concepts = [monitor for monitor in run.monitors if monitor.images == CONCEPTS]
    if not monitors:
        monitors = [SignatureMonitor(layers=[*blocks_of(model, h), h])]
    if args.concepts is not None and not concepts:
        concepts = [ConceptMonitor(layers=[h])]
    for monitor in (*monitors, *concepts):
        if args.layers is not None and monitor in monitors:
            monitor.layers = list(dict.fromkeys([*args.layers, h]))
        monitor.pool, monitor.seed = args.pool or monitor.pool, monitor.seed if args.seed is None else args.seed
        monitor.layers_of(model)
    watches = [Watch(monitors, plain_images(args, run, transform))]
    labelled = concept_images(args, run, transform) if concepts else None
    if labelled is None:
        return watches
    for monitor in concepts:
        monitor.categories = monitor.categories if labelled.own and monitor.categories else labelled.categories
    return [*watches, Watch(concepts, labelled)]


def _kinds(monitor: "SignatureMonitor") -> str:
    layers = ", ".join(monitor.layers) if monitor.layers is not None else "h"
    return f"{' and '.join(monitor.signatures)} ({monitor.prefix + ': ' if monitor.prefix else ''}{layers})"


def _conventions(run: "WatchedRun", watches: Sequence["Watch"], model: "RunModel") -> tuple[str, ...]:
    said = {
        "kurtosis": "kurtosis: Pearson's (a Gaussian gives 3), h not normalised; outlier features: |z| > 6 on at least "
        "6 % of the images; persisted, appeared and vanished: since the checkpoint before",
        "spectrum": "spectra: h not normalised, RankMe on E[hhᵀ]; importance: σ · mean |cos(v, h)|, largest over "
        "median",
        "concepts": "concepts: h of unit length, AP of v and −v, unknown labels ignored, bases of equal size; eligible "
        "with 10 positives, 10 negatives and a prevalence of at most 50 %",
        "confidence": "confidence: of the head's own logits; entropy divided by log C, calibration error over 15 bins "
        "of equal width",
    }
    monitors = [monitor for watch in watches for monitor in watch.monitors]
    measured = {kind for monitor in monitors for kind in monitor.signatures}
    settings = "as the run's monitors were set" if run.monitors else "the run had no monitors: stages or blocks, and h"
    head = "linear, of each checkpoint" if model.is_classifier else "zero-shot, of each checkpoint's text tower"
    lines = [f"measured: {settings}; {'; '.join(_kinds(monitor) for monitor in monitors)}"]
    lines += [sentence for kind, sentence in said.items() if kind in measured]
    lines += [f"head: {head}"] if hasattr(model, "head_weight") else []
    if run.recalibrated:
        lines.append(f"batch norms: statistics recomputed over {run.recalibrated:,} training images at each checkpoint")
    if not run.precision.startswith("32"):
        lines.append(f"precision: float32, where the run's own measurements were in {run.precision}")
    if any(monitor not in monitors for monitor in run.monitors):
        lines.append(f"the run's concept set is left out, as {run.data[0]} cannot be opened again here: --concepts SET")
    unreadable = [sentence for watch in watches for sentence in watch.images.unreadable]
    return (*lines, *run.left_out, *(f"an image was left out: {sentence}" for sentence in unreadable))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[StepFile], None]]:
    """A bar on stderr while it is a terminal, else nothing."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("checkpoints", total=total)
        yield lambda file: bar.update(task, advance=1, description=f"step {file.step}")
