"""`LogSteps`: validations, measurements and checkpoints at its steps, once each, and training as it is without them."""

import re

import lightning.pytorch as pl
import pytest
import torch
from callback_cases import LAYER, OWN, Data, Ours, Scored, loader, made_up_baseline, random_states, seed_all, trainer

from lightning_robust.callbacks import (
    ConceptMonitor,
    CurveRecorder,
    EffectiveRobustness,
    KurtosisMonitor,
    LogSteps,
    RandomStates,
    SpectrumMonitor,
)
from lightning_robust.errors import UserError
from lightning_robust.results import read_curves


class Validations(pl.Callback):
    """Global step at which each validation of the fit ended, and weights and modes around it."""

    def __init__(self):
        self.steps = []

    def on_validation_end(self, trainer, pl_module):
        self.steps.append((trainer.global_step, trainer.sanity_checking))


def monitors():
    return [
        KurtosisMonitor(),
        SpectrumMonitor(layers=[LAYER]),
        ConceptMonitor(),
        KurtosisMonitor(images=loader(OWN, 20, shuffle=True), prefix="own"),
        EffectiveRobustness(made_up_baseline(), replicates=10),
    ]


def fit(folder, *callbacks, log=None, seed=0, module=Scored, data=None, ckpt_path=None, **options):
    seed_all(seed)
    model, seen = module(seed=seed), Validations()
    log = LogSteps() if log is None else log
    used = [RandomStates(), seen, log, *callbacks]
    run = trainer(folder, callbacks=used, **options)
    resume = {} if ckpt_path is None else {"ckpt_path": ckpt_path, "weights_only": True}
    run.fit(model, datamodule=data or Data(), **resume)
    return model, seen.steps, log, run


def test_validations_measurements_rows_and_files_are_at_the_steps(tmp_path):
    watched = monitors()
    _, steps, log, _ = fit(tmp_path, *watched, CurveRecorder(tmp_path / "curves.csv"), max_epochs=4)
    at = [0, 1, 2, 3, 4, 6, 8, 11, 12]
    assert steps == [(step, step == 0) for step in at]
    assert log.done == at
    for monitor in watched:
        assert [entry["step"] for entry in monitor.history] == at
        assert [entry["epoch"] for entry in monitor.history] == [step // 3 for step in at]
    rows = read_curves(tmp_path / "curves.csv")
    for tag in ("val/reference/accuracy", "er/sketch", f"kurtosis/{LAYER}", "own/kurtosis/"):
        found = [row.step for row in rows if row.tag.startswith(tag)]
        assert sorted(set(found)) == at, tag
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == [f"step={s:06d}.safetensors" for s in at]
