"""What the folders of finished runs say, as one record: every point of every run, and how its figures were taken."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lightning_robust.cli.emergence_images import images_per_step
from lightning_robust.cli.emergence_plan import PlannedRun
from lightning_robust.errors import UserError
from lightning_robust.report.emergence_onset import RULES
from lightning_robust.report.emergence_summary import summarised
from lightning_robust.results import RunRecord, collect_provenance, file_sha256, read_curves, read_run
from lightning_robust.results.emergence_record import EmergencePoint, EmergenceRecord, EmergenceRun
from lightning_robust.results.names import CURVES, RESULTS

__all__ = ["collect_runs", "read_points"]

_LOSS = "train/loss"
_TOWER = re.compile(r"^(?:model\.)?encoder\.")
_REFERENCE = re.compile(r"val/([^/]+)/accuracy$")
_KEPT = re.compile(
    r"val/[^/]+/accuracy|er/[^/]+|er/mean/(prediction_)?(low|high)"
    r"|kurtosis/[^/]+(/q05|/q95)?|outliers/[^/]+/(features|share_of_norm)|massive/[^/]+/largest"
    r"|spectrum/[^/]+/rankme|importance/[^/]+/(raw|centred)/(max_over_median|privileged)"
    r"|concepts/[^/]+/(singular_vectors|neurons|random_rotation)/(permuted/)?(mean_best_ap|unique_0\.[59])"
)
_ON_ROBUSTNESS = "effective robustness while training: "
_CONVENTIONS = (
    "images: optimiser steps times the images of a step; step 0 is before training",
    "train/loss: mean over the batches since the point before, in nats; of different objectives it is not comparable",
    "effective robustness below the baseline's reference accuracies is an extrapolation (er/extrapolated is 1); the "
    "lines of most shifts lie below chance there, so it begins above zero",
    "importance and concepts of a contrastive run are of the zero-shot head that its text tower gives at that step, of "
    "a supervised one of its linear head",
    "rank correlations: Spearman's with er/mean over the points of one run, which are not independent of each other, "
    "so they test nothing; over the last points of all runs, which differ by variant more than by seed",
)


def collect_runs(runs: Sequence[PlannedRun], missing: Mapping[str, str]) -> EmergenceRecord:
    """Read finished runs, and sum them up.

    Args:
        runs: Finished ones, at least one.
        missing: Why others are not there, by their labels.

    Raises:
        UserError: If a run's files cannot be read, or have no two points of which the first is step 0.
    """
    records = [read_run(run.folder / RESULTS) for run in runs]
    said = [line for record in records for line in record.conventions]
    robustness = [line.removeprefix(_ON_ROBUSTNESS) for line in said if line.startswith(_ON_ROBUSTNESS)]
    # seeds were planned variant by variant; in the record the seeds of a variant stand together
    ordered = sorted(
        zip(runs, records, strict=True), key=lambda pair: [run.variant for run in runs].index(pair[0].variant)
    )
    first = records[0].provenance
    return summarised(
        EmergenceRecord(
            provenance=collect_provenance(device=first.device, threads=first.threads),
            seeds=tuple(dict.fromkeys(run.seed for run in runs)),
            data=records[0].data,
            baseline=robustness[0] if robustness else None,
            conventions=(*dict.fromkeys(said), *_CONVENTIONS, *RULES),
            runs=tuple(_run(run, record) for run, record in ordered),
            missing=missing,
        )
    )


def read_points(folder: Path, images_per_step: int) -> tuple[EmergencePoint, ...]:
    """The points of a run, from its curves and its TensorBoard events.

    Args:
        folder: The run's folder.
        images_per_step: Training images of one optimiser step, of all processes together.

    Raises:
        UserError: If the curves cannot be read, or have no two points of which the first is step 0.
    """
    figures: dict[int, dict[str, float]] = {}
    for row in read_curves(folder / CURVES):
        tag = _within_tower(row.tag)
        if _KEPT.fullmatch(tag):
            figures.setdefault(row.step, {})[tag] = row.value
    steps = sorted(figures)
    if len(steps) < 2 or steps[0] != 0:
        raise UserError(
            f"{folder / CURVES} has the steps {steps}: a comparison needs step 0 and at least one later one, as "
            "LogSteps gives them"
        )
    losses = _losses(folder)
    before = 0
    for step in steps:
        # the loss that is logged at step t is of the batch that makes step t + 1
        since = [loss for at, loss in losses.items() if before <= at < step]
        figures[step][_LOSS] = math.fsum(since) / len(since) if since else math.nan
        before = step
    return tuple(EmergencePoint(step=step, images=step * images_per_step, figures=figures[step]) for step in steps)


def _run(run: PlannedRun, record: RunRecord) -> EmergenceRun:
    points = read_points(run.folder, images_per_step(record.config, run.label, record.provenance.device))
    names = [found[1] for tag in points[0].figures if (found := _REFERENCE.match(tag))]
    weights = sorted(path for path in (run.folder / "steps").glob("step=*.safetensors") if ".head." not in path.name)
    return EmergenceRun(
        variant=run.variant,
        seed=run.seed,
        folder=_from_here(run.folder),
        reference=names[0] if names else "",
        checkpoint=file_sha256(weights[-1]) if weights else None,
        points=points,
    )


def _within_tower(tag: str) -> str:
    """A tag whose layer is named from the image tower on, so that it is the same in every variant."""
    kind, slash, rest = tag.partition("/")
    return tag if kind in ("val", "er") else f"{kind}{slash}{_TOWER.sub('', rest)}"


def _losses(folder: Path) -> dict[int, float]:
    """The training loss by step, from the run's TensorBoard events; empty where there are none."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1})
    events.Reload()
    tags: Iterable[str] = events.Tags()["scalars"]
    return {event.step: event.value for event in events.Scalars(_LOSS)} if _LOSS in tags else {}


def _from_here(folder: Path) -> str:
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
