"""A study without torch: measurements whose figures follow from the bytes of the weights, in the worker's own process.

As a program it is the worker; `BEHAVIOUR` in the environment names a folder in which files say who is to fail how.
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from lightning_robust.cli import study_context, study_worker
from lightning_robust.cli.study_context import StudyContext
from lightning_robust.cli.study_weights import weights_digest
from lightning_robust.errors import UserError
from lightning_robust.results import (
    AccuracyRow,
    DataDescription,
    EvaluationRecord,
    ModelDescription,
    ModelEvaluation,
    ProbedLayer,
    ProbeRecord,
    collect_provenance,
)
from lightning_robust.results.choices import Interval
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness
from lightning_robust.results.prune_record import JudgedPoint, PruneCurve, PrunedModel, PruneRecord
from lightning_robust.results.pruned_headline import PrunedHeadline

SETS = ("reference", "sketch", "art")
IMAGES = dict.fromkeys(SETS, 1000)


def open_stand_in(config):
    """The context of a study whose data need no torch."""
    return StudyContext(config, {"description": "stand-in", "data": config.data}, "baseline", SETS[0], SETS[1:])


def number(source, name):
    """A fraction that follows from a model's weights and the name of a figure."""
    text = f"{weights_digest(source) or source} {name}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def about(source):
    digest = hashlib.sha256((weights_digest(source) or source).encode()).hexdigest()
    return {"name": source, "origin": "made up", "checkpoint_hash": digest}


def shared():
    return {
        "provenance": collect_provenance(threads=1),
        "seeds": {"intervals": 0},
        "data": DataDescription(dataset="stand-in", protocol="top-1", images=IMAGES),
    }


def rows_of(source):
    correct = {name: int(number(source, name) * IMAGES[name]) for name in SETS}
    return tuple(
        AccuracyRow(set=name, protocol="top-1", correct=correct[name], images=IMAGES[name], low=0.0, high=1.0)
        for name in SETS
    )


def robustness_of(source):
    def one(name):
        value = number(source, f"er {name}") - 0.5
        interval = Interval(value, value - 0.01, value + 0.01, level=0.95, replicates=10, seed=0)
        wide = Interval(value, value - 0.1, value + 0.1, level=0.95, replicates=10, seed=0)
        return ShiftRobustness(
            accuracy=0.5, expected=0.5 - value, estimate=value, interval=interval, prediction=wide, extrapolated=False
        )

    return EffectiveRobustness(
        shifts={name: one(name) for name in SETS[1:]}, mean=one("mean"), baseline="made up", scale="logit", x="full",
        aggregate="er",
    )  # fmt: skip


def evaluated(context, rows):
    for row in rows:
        behave(row, "evaluate")
    for row in rows:
        model = ModelEvaluation(**about(row.source), rows=rows_of(row.source), robustness=robustness_of(row.source))
        yield (
            row,
            EvaluationRecord(**shared(), conventions=("accuracy: top-1",), baseline="lines", models=(model,)),
            1.0,
        )


def probed(context, rows):
    for row in rows:
        behave(row, "probe")
        scalars = {"kurtosis/layer4": number(row.source, "k4"), "kurtosis/h": number(row.source, "kh")}
        scalars |= {"outliers/h/features": float("nan"), "confidence/accuracy": number(row.source, "reference")}
        record = ProbeRecord(
            **shared(), conventions=("kurtosis: Pearson's", f"layers: {row.name}"),
            model=ModelDescription(**about(row.source), parameters=1, classes=2),
            layers=tuple(ProbedLayer(name=name, form="8 features", d=8) for name in ("layer4", "h")),
            scalars=scalars, curves={}, indices={},
        )  # fmt: skip
        yield row, record, 2.0


def pruned(context, rows):
    for row in rows:
        behave(row, "prune")

        def headline(name, row=row):
            value = number(row.source, f"prune {name}")
            interval = Interval(value, value / 2, (1 + value) / 2, level=0.95, replicates=10, seed=0)
            return PrunedHeadline(
                fraction=interval, kept=1, unbroken=interval, unbroken_kept=1, total=4, points=0.01, unpruned=0.5,
                accuracy=0.5, images=IMAGES,
            )  # fmt: skip

        def curve(order, form, draws=1, headline=headline):
            names = ("reference", "shifts")
            found = {name: tuple(headline(f"{order} {form} {name} {k}") for k in range(draws)) for name in names}
            return PruneCurve(
                order=order, form=form, of="directions", total=4, kept=(4, 0), correct={}, agreement={},
                headlines=found, seeds=tuple(range(draws)) if draws > 1 else (),
            )  # fmt: skip

        model = PrunedModel(
            **about(row.source), classes=4, d=8, unit_norm=True, bias=False, rank_raw=4, rank_centred=3,
            privileged_raw=1, privileged_centred=0, outliers_by_rule=None, calibration_images=10,
            unpruned=JudgedPoint(rows=rows_of(row.source)),
            curves=(curve("importance", "raw"), curve("importance", "centred"), curve("random", "raw", 2)),
        )  # fmt: skip
        yield row, PruneRecord(**shared(), conventions=("pruning: made up",), models=(model,)), 3.0


def behave(row, measurement):
    """Fail as the folder says; each measurement is noted there too, and takes a moment."""
    folder = Path(os.environ["BEHAVIOUR"])
    with (folder / "measured.txt").open("a") as file:
        file.write(f"{measurement}|{row.name}\n")
    time.sleep(float(os.environ.get("MOMENT", "0")))
    for name in (f"{measurement}-{row.name}", f"{measurement}-{row.model}"):
        how = (folder / name).read_text() if (folder / name).exists() else ""
        if how == "refuse":
            raise UserError(f"{row.source} cannot be had")
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)


def install(setattr=setattr):
    """Put the stand-ins in their places."""
    setattr(study_worker, "open_context", open_stand_in)
    setattr(study_context, "open_context", open_stand_in)
    setattr(study_worker, "MEASURES", {"evaluate": evaluated, "probe": probed, "prune": pruned})


if __name__ == "__main__":
    install()
    sys.exit(study_worker.main(sys.argv[1:]))
