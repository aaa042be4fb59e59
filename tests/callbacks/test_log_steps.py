"""`LogSteps`: validations, measurements and checkpoints at its steps, once each, and training as it is without them."""

import math
import re

import lightning.pytorch as pl
import pytest
import torch
from callback_cases import (
    LAYER,
    OWN,
    Data,
    Scored,
    draw,
    loader,
    made_up_baseline,
    random_states,
    same_state,
    seed_all,
    trainer,
)
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_robust.callbacks import (
    ConceptMonitor,
    CurveRecorder,
    EffectiveRobustness,
    KurtosisMonitor,
    LogSteps,
    RandomStates,
    SpectrumMonitor,
)
from lightning_robust.callbacks.step_checkpoints import step_files
from lightning_robust.errors import UserError
from lightning_robust.results import read_curves


class Validations(pl.Callback):
    """Global step at which each validation of the fit ended."""

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


def files(folder):
    return list(step_files(folder / "steps"))


def fit(folder, *callbacks, log=None, seed=0, module=Scored, data=None, ckpt_path=None, **options):
    seed_all(seed)
    model, seen = module(seed=seed), Validations()
    log = LogSteps() if log is None else log
    used = [RandomStates(), seen, log, *callbacks]
    run = trainer(folder, callbacks=used, **options)
    resume = {} if ckpt_path is None else {"ckpt_path": ckpt_path, "weights_only": True}
    run.fit(model, datamodule=data or Data(), **resume)
    return model, seen.steps, log, run


def test_steps_are_the_rounded_powers_each_once():
    for per_octave, first in ((1, 1), (2, 1), (3, 1), (2, 5), (12, 1)):
        expected = {0, 1000}
        for k in range(40 * per_octave):
            step = round(first * math.exp(k * math.log(2) / per_octave))
            expected |= {step} if step <= 1000 else set()
        assert LogSteps(per_octave, first).up_to(1000) == sorted(expected)
    assert LogSteps().up_to(11) == [0, 1, 2, 3, 4, 6, 8, 11]
    assert LogSteps(per_octave=1).up_to(20) == [0, 1, 2, 4, 8, 16, 20]
    assert LogSteps(steps=[7, 3, 3]).up_to(9) == [3, 7, 9]
    assert len(LogSteps().up_to(2400)) == 24


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


def test_training_is_that_of_a_run_without_validation(tmp_path):
    """The validation loaders of these data draw from the global random state whenever they are iterated."""
    for number, options in enumerate(({}, {"accumulate_grad_batches": 2}, {"max_steps": 4, "max_epochs": -1})):
        seed_all()
        plain = Scored()
        trainer(tmp_path, limit_val_batches=0, **options).fit(plain, datamodule=Data())
        states = random_states()
        model, *_ = fit(tmp_path / str(number), *monitors(), **options)
        assert model.losses == plain.losses
        assert same_state(model.state_dict(), plain.state_dict())
        assert random_states() == states
        assert [m.training for m in model.modules()] == [m.training for m in plain.modules()]


def test_a_step_of_accumulated_gradients_is_measured_once(tmp_path):
    watched = monitors()
    _, steps, log, _ = fit(tmp_path, *watched, accumulate_grad_batches=2, max_epochs=4)  # 2 + 1 batches an epoch
    at = [0, 1, 2, 3, 4, 6, 8]
    assert [step for step, _ in steps] == at == log.done == files(tmp_path)
    assert all([entry["step"] for entry in monitor.history] == at for monitor in watched)


class TwoOptimisers(Scored):
    """Two steps in each batch, by hand."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.stem, self.fc)]


def test_several_optimisers_make_several_steps_of_a_batch(tmp_path):
    """Batches end at steps 2, 4 … 18: 1 and 2 are due at 2, 3 and 4 at 4, 11 at 12."""
    _, steps, log, _ = fit(tmp_path, module=TwoOptimisers, max_epochs=3)
    assert [step for step, _ in steps] == [0, 2, 4, 6, 8, 12, 16, 18] == log.done == files(tmp_path)


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ({"max_steps": 5, "max_epochs": -1}, 5),
        ({"max_steps": 100, "max_epochs": 3}, 9),
        ({"max_epochs": 3, "limit_train_batches": 2}, 6),
        ({"max_epochs": 7, "check_val_every_n_epoch": None}, 21),
    ],
)
def test_the_last_step_is_measured_however_the_run_ends(options, last, tmp_path):
    _, steps, log, _ = fit(tmp_path, **options)
    assert log.done == log.up_to(last) == files(tmp_path) == [step for step, _ in steps]


class StopAt(pl.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step


def test_a_run_that_is_stopped_has_its_last_step(tmp_path):
    _, _, log, run = fit(tmp_path, StopAt(5), max_epochs=4)
    assert run.global_step == 5
    assert log.done == [0, 1, 2, 3, 4, 5] == files(tmp_path)


class StopAfter(pl.Callback):
    """As EarlyStopping does: once the last batch is over, when Lightning validates no more."""

    def on_train_epoch_end(self, trainer, *_):
        trainer.should_stop = trainer.current_epoch == 2


@pytest.mark.parametrize("validate", [True, False])
def test_a_run_that_is_stopped_after_an_epoch_has_its_last_step(validate, tmp_path):
    watched = KurtosisMonitor()
    log = LogSteps(validate=validate)
    _, steps, _, run = fit(tmp_path, StopAfter(), watched, log=log, max_epochs=5)
    assert run.global_step == 9
    assert log.done == [0, 1, 2, 3, 4, 6, 8, 9] == files(tmp_path)
    if validate:
        assert [step for step, _ in steps] == log.done
        assert [entry["step"] for entry in watched.history] == log.done
        assert watched.history[-1]["epoch"] == 3


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(zip(*draw(0, self.n), strict=True))


class Streamed(Data):
    """A training set without a length: Lightning knows an epoch's last batch when it has come."""

    def train_dataloader(self):
        return DataLoader(Stream(48), batch_size=16)


def test_a_stream_without_a_length(tmp_path):
    _, steps, log, _ = fit(tmp_path, data=Streamed(), max_epochs=3)
    assert [step for step, _ in steps] == [0, 1, 2, 3, 4, 6, 8, 9] == log.done


def test_the_trainer_is_left_as_it_was(tmp_path):
    log = LogSteps(folder=tmp_path / "once")
    *_, run = fit(tmp_path, log=log, max_epochs=1)
    assert run.num_sanity_val_steps == 0
    assert "run" not in vars(run.fit_loop.epoch_loop.val_loop)
    log.folder = tmp_path / "again"  # the same callback in another run
    _, steps, _, _ = fit(tmp_path, log=log, max_epochs=1)
    assert [step for step, _ in steps] == log.done == [0, 1, 2, 3]


class Raising(pl.Callback):
    """Draw, and raise in the first validation after the sanity check."""

    def on_validation_batch_end(self, trainer, *_):
        if not trainer.sanity_checking:
            torch.rand(7)
            raise InterruptedError


def test_an_error_in_a_validation_leaves_the_trainer_and_the_random_states(tmp_path):
    seed_all()
    plain = trainer(tmp_path, max_steps=1, max_epochs=-1, limit_val_batches=0)
    plain.fit(Scored(), datamodule=Data())
    states = random_states()
    seed_all()
    run = trainer(tmp_path, callbacks=[LogSteps(), Raising()])
    with pytest.raises(InterruptedError):
        run.fit(Scored(), datamodule=Data())
    assert random_states() == states
    assert run.num_sanity_val_steps == 0
    assert "run" not in vars(run.fit_loop.epoch_loop.val_loop)
    assert files(tmp_path) == [0]  # step 1 was not validated


def test_monitors_with_other_moments(tmp_path):
    """Never in validations, or at steps of their own beside ours: each step once."""
    never = KurtosisMonitor(every_n_epochs=0)
    own = KurtosisMonitor(every_n_epochs=0, every_n_steps=2, images=loader(OWN, 20), prefix="own")
    both = KurtosisMonitor(every_n_steps=5, prefix="both")
    fit(tmp_path, never, own, both, max_epochs=3)
    assert [entry["step"] for entry in never.history] == [0]
    assert [entry["step"] for entry in own.history] == [0, 2, 4, 6, 8]
    assert [entry["step"] for entry in both.history] == [0, 1, 2, 3, 4, 5, 6, 8, 9]


def test_steps_of_ones_own_without_the_first(tmp_path):
    watched = KurtosisMonitor()
    _, steps, log, _ = fit(tmp_path, watched, log=LogSteps(steps=[2, 5]), max_epochs=2)
    assert steps == [(2, False), (5, False), (6, False)]
    assert log.done == files(tmp_path) == [2, 5, 6]
    assert [entry["step"] for entry in watched.history] == [0, 2, 5, 6]


def test_checkpoints_alone_leave_the_trainers_validations(tmp_path):
    watched = KurtosisMonitor()
    _, steps, log, _ = fit(tmp_path, watched, log=LogSteps(validate=False), max_epochs=2)
    assert [step for step, _ in steps] == [3, 6] == [entry["step"] for entry in watched.history[1:]]
    assert log.done == files(tmp_path) == [0, 1, 2, 3, 4, 6]
    fit(tmp_path / "b", log=LogSteps(validate=False), max_epochs=1, limit_val_batches=0)
    assert files(tmp_path / "b") == [0, 1, 2, 3]


def test_validations_alone_write_nothing(tmp_path):
    _, _, log, _ = fit(tmp_path, log=LogSteps(checkpoints=False), max_epochs=1)
    assert log.done == [0, 1, 2, 3]
    assert not (tmp_path / "steps").exists()


class NoLoaders(Data):
    val_dataloader = pl.LightningDataModule.val_dataloader


class EmptyLoaders(Data):
    def val_dataloader(self):
        return [DataLoader(TensorDataset(torch.zeros(0, 12), torch.zeros(0)), batch_size=2)]


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"per_octave": 0}, {}, "per_octave and first are 1 or more, got 0 and 1"),
        ({"first": 0}, {}, "per_octave and first are 1 or more, got 2 and 0"),
        ({"steps": []}, {}, r"steps names at least one optimiser step, each 0 or more; got \[\]"),
        ({"steps": [-1, 2]}, {}, r"steps names at least one optimiser step, each 0 or more; got \[-1, 2\]"),
        ({"steps": [1], "per_octave": 3}, {}, "have no effect with steps=: leave them out"),
        ({"validate": False, "checkpoints": False}, {}, "does nothing: leave it out"),
        ({"checkpoints": False, "folder": "a"}, {}, "no effect with checkpoints=False"),
        ({"module": "stam"}, {}, "Scored has no submodule 'stam' to write: give module=, one of 'stem', 'norm'"),
        ({}, {"limit_val_batches": 0}, "runs no validation of Scored: give it validation loaders and"),
        ({}, {"data": NoLoaders()}, "runs no validation of Scored: give it validation loaders and"),
        ({}, {"data": EmptyLoaders()}, "the validation loaders of Scored give no batch"),
        ({}, {"check_val_every_n_epoch": 2}, "LogSteps says when to validate, .* got 2 and 1.0: leave them out"),
        ({}, {"val_check_interval": 0.5}, "LogSteps says when to validate, .* got 1 and 0.5: leave them out"),
        ({}, {"val_check_interval": "00:00:10:00"}, "got 1 and a time: leave them out"),
    ],
)
@pytest.mark.filterwarnings("ignore:Total length of", "ignore:You defined a `validation_step` but have no")
def test_what_cannot_work_is_refused_before_training(settings, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        fit(tmp_path, log=LogSteps(**settings), **options)
    assert not (tmp_path / "steps").exists()


def test_another_schedule_is_refused(tmp_path):
    with pytest.raises(UserError, match="LogSteps says when to measure, so every_n_epochs=2 has no effect"):
        fit(tmp_path, KurtosisMonitor(every_n_epochs=2))


def test_a_folder_with_the_steps_of_another_run_is_refused(tmp_path):
    fit(tmp_path, max_epochs=1)
    with pytest.raises(UserError, match=re.escape("holds 4 step checkpoints of another run: give this one a folder")):
        fit(tmp_path, max_epochs=1)


def test_a_run_that_goes_on_longer_keeps_the_last_step_of_the_shorter(tmp_path):
    *_, run = fit(tmp_path, max_epochs=-1, max_steps=5)
    run.save_checkpoint(tmp_path / "a.ckpt")
    _, _, log, _ = fit(tmp_path, max_epochs=-1, max_steps=8, ckpt_path=tmp_path / "a.ckpt", seed=4)
    assert log.done == [0, 1, 2, 3, 4, 5, 6, 8] == files(tmp_path)


def test_a_run_that_had_none_gets_the_steps_that_are_left(tmp_path):
    first = trainer(tmp_path, max_epochs=1)
    first.fit(Scored(), datamodule=Data())
    first.save_checkpoint(tmp_path / "a.ckpt")
    watched = KurtosisMonitor()
    _, steps, log, _ = fit(tmp_path, watched, ckpt_path=tmp_path / "a.ckpt", max_epochs=3)
    assert [step for step, _ in steps] == log.done == files(tmp_path) == [4, 6, 8, 9]
    assert [entry["step"] for entry in watched.history] == [3, 4, 6, 8, 9]
