"""A run with `LogSteps` that was broken off anywhere and resumed equals the one that was not."""

import filecmp

import lightning.pytorch as pl
import numpy as np
import pytest
from callback_cases import (
    OWN,
    Data,
    ListLogger,
    Scored,
    loader,
    made_up_baseline,
    random_states,
    same_state,
    seed_all,
    trainer,
)
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_robust.callbacks import (
    CurveRecorder,
    EffectiveRobustness,
    KurtosisMonitor,
    LogSteps,
    RandomStates,
    log_steps,
)
from lightning_robust.results import read_curves

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
#: Of three epochs of three steps: inside epochs, at the end of the first and of the run, not at that of the second.
STEPS = [0, 1, 3, 4, 8, 9]


class Break(pl.Callback):
    """Break a run off at a step: before its batch, or in its validation, at the end of a batch or of all."""

    def __init__(self, step, where="train"):
        self.step, self.where = step, where

    def _at(self, trainer, where):
        if self.where == where and trainer.global_step == self.step and not trainer.sanity_checking:
            raise InterruptedError

    def on_train_batch_start(self, trainer, *_):
        self._at(trainer, "train")

    def on_validation_epoch_start(self, trainer, *_):
        self._at(trainer, "validation start")

    def on_validation_batch_end(self, trainer, *_):
        self._at(trainer, "validation")


class BreakBatch(pl.Callback):
    """Break a run off before a batch, counted over epochs."""

    def __init__(self, batch):
        self.batch = batch

    def on_train_batch_start(self, trainer, *_):
        if trainer.fit_loop.total_batch_idx == self.batch:
            raise InterruptedError


class Saving(pl.Callback):
    """Save a checkpoint when training is about to break, inside a validation too, as a signal handler would."""

    def __init__(self, folder):
        self.folder = folder

    def on_exception(self, trainer, *_):
        trainer.save_checkpoint(self.folder / "last.ckpt")


class Steps(pl.Callback):
    def __init__(self):
        self.validated = []

    def on_validation_end(self, trainer, *_):
        if not trainer.sanity_checking:
            self.validated.append(trainer.global_step)


def run(folder, *extra, resume=False, save=None, order=1, steps=STEPS[:-1], **options):
    folder.mkdir(exist_ok=True)
    seed_all(123 if resume else 0)
    module, logger, seen = Scored(seed=9 if resume else 0), ListLogger(), Steps()
    log = LogSteps(steps=steps, folder=folder / "steps", recalibrate=40)
    monitors = [
        KurtosisMonitor(untrained=True),
        KurtosisMonitor(images=loader(OWN, 20, shuffle=True), prefix="own"),
        EffectiveRobustness(made_up_baseline(), replicates=10),
    ]
    used = [RandomStates(), *([log, *monitors] if order else [*monitors, log])]
    used += [CurveRecorder(folder / "curves.csv"), seen, *extra]
    if save != "exception":
        used.append(ModelCheckpoint(folder, save_last=True, **(save or {"every_n_train_steps": 1})))
    else:
        used.append(Saving(folder))
    options = {"max_epochs": 3, "enable_checkpointing": True, "logger": logger, "log_every_n_steps": 1, **options}
    go_on = {"ckpt_path": folder / "last.ckpt", "weights_only": True} if resume else {}
    trainer(folder, callbacks=used, **options).fit(module, datamodule=Data(), **go_on)
    return module, monitors, log, random_states(), logger, seen.validated


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder)


def curves(folder):
    return [str(row) for row in read_curves(folder / "curves.csv")]


def logged(logger):
    """What Lightning logged of a validation, by its own count of steps."""
    rows = [(step, tag, value) for step, row in logger.rows for tag, value in row.items()]
    return [row for row in rows if row[1].startswith("val/")]


def assert_equal_runs(folder, resumed, whole_folder, whole):
    (module, monitors, log, states, logger, validated), (plain, theirs, their_log, their_states, their_logger, all_) = (
        resumed, whole,
    )  # fmt: skip
    assert same_state(module.state_dict(), plain.state_dict())
    assert states == their_states
    assert log.done == their_log.done
    for one, other in zip(monitors, theirs, strict=True):
        np.testing.assert_equal(
            [(e["step"], e["epoch"], e["scalars"]) for e in one.history],
            [(e["step"], e["epoch"], e["scalars"]) for e in other.history],
        )
    assert curves(folder) == curves(whole_folder)
    files = sorted(path.name for path in (whole_folder / "steps").iterdir())
    assert sorted(path.name for path in (folder / "steps").iterdir()) == files
    for name in files:
        assert filecmp.cmp(folder / "steps" / name, whole_folder / "steps" / name, shallow=False), name
    # the last validations are those that were left, at Lightning's own steps too
    assert validated == all_[len(all_) - len(validated) :]
    assert logged(logger) == logged(their_logger)[len(logged(their_logger)) - len(logged(logger)) :]


@pytest.mark.parametrize("step", range(1, 9))
def test_broken_off_at_any_step(step, tmp_path, whole):
    """Its checkpoint was written at the end of the batch before, so before its validation where there is one."""
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(step))
    resumed = run(tmp_path, resume=True)
    assert_equal_runs(tmp_path, resumed, *whole)
    assert resumed[-1] == [s for s in STEPS if s >= step]


@pytest.mark.parametrize("save", [{}, "exception", {"every_n_train_steps": 1}], ids=["after", "inside", "before"])
@pytest.mark.parametrize(
    ("step", "where"),
    [
        (4, "validation"),
        (9, "validation"),
        (3, "validation"),
        pytest.param(4, "validation start", marks=pytest.mark.slow),
        pytest.param(9, "validation start", marks=pytest.mark.slow),
    ],
)
def test_broken_off_in_a_validation(step, where, save, tmp_path, whole):
    """Its checkpoint was written before it, inside of it, or after an earlier one."""
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(step, where), save=save)
    resumed = run(tmp_path, resume=True, save=save)
    assert_equal_runs(tmp_path, resumed, *whole)
    assert step in resumed[-1]


def test_a_checkpoint_written_after_a_validation_has_it(tmp_path, whole):
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(5), save={})
    resumed = run(tmp_path, resume=True, save={})
    assert_equal_runs(tmp_path, resumed, *whole)
    assert resumed[-1] == [8, 9]


@pytest.mark.parametrize("every", [2, 5])
def test_a_checkpoint_between_two_steps(every, tmp_path, whole):
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(8, "validation"), save={"every_n_train_steps": every})
    resumed = run(tmp_path, resume=True, save={"every_n_train_steps": every})
    assert_equal_runs(tmp_path, resumed, *whole)


@pytest.mark.parametrize("step", [5, 8])
def test_a_checkpoint_at_the_end_of_an_epoch(step, tmp_path, whole):
    """The first epoch ends with a validation, the second without."""
    save = {"every_n_epochs": 1, "save_on_train_epoch_end": True}
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(step), save=save)
    resumed = run(tmp_path, resume=True, save=save)
    assert_equal_runs(tmp_path, resumed, *whole)
    assert resumed[-1] == [s for s in STEPS if s >= step - 1]


@pytest.mark.parametrize(("step", "where"), [(5, "train"), (4, "validation"), (9, "validation")])
def test_with_a_number_of_steps_and_the_monitors_first(step, where, tmp_path, whole):
    options = {"max_epochs": -1, "max_steps": 9, "order": 0}
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(step, where), **options)
    assert_equal_runs(tmp_path, run(tmp_path, resume=True, **options), *whole)


def test_with_accumulated_gradients(tmp_path):
    """Two batches make a step: the checkpoint lies before a step's validation, or after it."""
    options = {"accumulate_grad_batches": 2, "max_epochs": 4, "steps": [0, 1, 3, 4]}
    expected = run(tmp_path / "whole", **options)
    assert expected[2].done == [0, 1, 3, 4, 8]
    for number, save in enumerate(({}, {"every_n_train_steps": 1})):
        folder = tmp_path / f"stopped {number}"
        with pytest.raises(InterruptedError):
            run(folder, BreakBatch(8), save=save, **options)
        assert_equal_runs(folder, run(folder, resume=True, save=save, **options), tmp_path / "whole", expected)


def test_stopped_twice_before_one_validation(tmp_path, whole):
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(4, "validation"))
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(4, "validation"), resume=True)
    assert_equal_runs(tmp_path, run(tmp_path, resume=True), *whole)


def test_without_going_back_the_point_would_be_missing(tmp_path, monkeypatch):
    """So the comparison above can fail."""
    with pytest.raises(InterruptedError):
        run(tmp_path, Break(4, "validation"))
    monkeypatch.setattr(log_steps, "go_back_to_validation", lambda trainer: None)
    assert run(tmp_path, resume=True)[-1] == [8, 9]
