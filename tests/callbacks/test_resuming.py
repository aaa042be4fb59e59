"""A run that was stopped and resumed equals the run that was not: weights, random states, curves and Wise-FT."""

import filecmp
import shutil

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from callback_cases import LAYER, OWN, Data, Keep, Ours, loader, random_states, same_state, seed_all, trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from lightning_robust.callbacks import (
    ConceptMonitor,
    CurveRecorder,
    KurtosisMonitor,
    RandomStates,
    SignatureMonitor,
    SpectrumMonitor,
    WiseFT,
)
from lightning_robust.data import ScenesDataModule
from lightning_robust.results import read_curves
from lightning_robust.training import ClassifierFinetuning

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


class Resumable(Data):
    """Validation loaders that leave the global random state alone, so that one that is left out is not missed."""

    def val_dataloader(self):
        sets = [plain.dataset for plain in super().val_dataloader()]
        return [DataLoader(one, batch_size=self.batch, generator=torch.Generator()) for one in sets]


class Stop(pl.Callback):
    """Break a run off at a step: by an error, as a person would, or before or after its checkpoint."""

    def __init__(self, step, how="error"):
        self.step, self.how = step, how

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            if self.how == "error":
                raise InterruptedError
            if self.how == "interrupt":
                raise KeyboardInterrupt

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step and self.how == "should_stop":
            trainer.should_stop = True


def callbacks(folder, *extra, save=None, every=1):
    checkpoints = ModelCheckpoint(folder, save_last=True, **({"every_n_train_steps": every} if save is None else save))
    monitors = [
        KurtosisMonitor(every_n_steps=2, untrained=True),
        SpectrumMonitor(layers=[LAYER, "norm"]),
        ConceptMonitor(),
        KurtosisMonitor(images=loader(OWN, 20, shuffle=True), prefix="own"),
    ]
    wise = WiseFT([0.5], module="", folder=folder / "wise_ft", replicates=20)
    return [RandomStates(), *monitors, wise, CurveRecorder(folder / "signatures.csv"), checkpoints, *extra]


def run(folder, *extra, ckpt_path=None, seed=0, save=None, every=1, data=Resumable, **options):
    folder.mkdir(exist_ok=True)
    seed_all(seed)
    module = Ours(seed=seed)
    used = callbacks(folder, *extra, save=save, every=every)
    options = {"max_epochs": 3, "enable_checkpointing": True, "num_sanity_val_steps": -1, **options}
    resume = {} if ckpt_path is None else {"ckpt_path": ckpt_path, "weights_only": True}
    trainer(folder, callbacks=used, **options).fit(module, datamodule=data(), **resume)
    return module, used, random_states()


def assert_equal_runs(folder, resumed, whole_folder, whole):
    (module, used, states), (plain, plain_used, plain_states) = resumed, whole
    assert same_state(module.state_dict(), plain.state_dict())
    assert states == plain_states
    for one, other in zip(used[1:5], plain_used[1:5], strict=True):
        assert [e["step"] for e in one.history] == [e["step"] for e in other.history]
        for entry, expected in zip(one.history, other.history, strict=True):
            assert entry["epoch"] == expected["epoch"]
            assert list(entry["scalars"]) == list(expected["scalars"])
            np.testing.assert_equal(entry["scalars"], expected["scalars"])
        assert one.before == other.before
        assert one.reference == other.reference
    assert str(used[5].path) == str(plain_used[5].path)
    for file in (whole_folder / "wise_ft").iterdir():
        assert filecmp.cmp(file, folder / "wise_ft" / file.name, shallow=False), file.name
    rows, expected = read_curves(folder / "signatures.csv"), read_curves(whole_folder / "signatures.csv")
    assert [str(row) for row in rows] == [str(row) for row in expected]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder)


def resume(folder, **options):
    """Go on in another process's state: other weights, other random states."""
    return run(folder, ckpt_path=folder / "last.ckpt", seed=123, **options)


@pytest.mark.parametrize("step", range(1, 9))
def test_broken_off_by_an_error_at_any_step(step, tmp_path, whole):
    with pytest.raises(InterruptedError):
        run(tmp_path, Stop(step))
    assert_equal_runs(tmp_path, resume(tmp_path), *whole)


@pytest.mark.parametrize("step", [4, 6])
def test_broken_off_by_a_person(step, tmp_path, whole):
    with pytest.raises(SystemExit):
        run(tmp_path, Stop(step, "interrupt"))
    assert_equal_runs(tmp_path, resume(tmp_path), *whole)


@pytest.mark.parametrize("every", [2, 3, 4])
def test_rows_after_the_checkpoint_are_dropped_and_written_again(every, tmp_path, whole):
    """The checkpoint is older than the end, so curves and figures after it exist already."""
    with pytest.raises(InterruptedError):
        run(tmp_path, Stop(7), every=every)
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"]
    assert last == {2: 6, 3: 6, 4: 4}[every]
    steps = {row.step for row in read_curves(tmp_path / "signatures.csv")}
    assert max(steps) >= last
    assert_equal_runs(tmp_path, resume(tmp_path, every=every), *whole)


def test_stopped_twice(tmp_path, whole):
    for step, options in ((2, {}), (5, {"ckpt_path": tmp_path / "last.ckpt", "seed": 9})):
        with pytest.raises(InterruptedError):
            run(tmp_path, Stop(step), **options)
    assert_equal_runs(tmp_path, resume(tmp_path), *whole)


@pytest.mark.parametrize(
    "save", [{}, {"every_n_epochs": 1, "save_on_train_epoch_end": True}], ids=["validation", "epoch"]
)
def test_checkpoints_at_the_end_of_epochs(save, tmp_path, whole):
    with pytest.raises(InterruptedError):
        run(tmp_path, Stop(7), save=save)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6
    assert_equal_runs(tmp_path, resume(tmp_path, save=save), *whole)


def test_a_run_with_max_steps_goes_on_as_a_longer_one(tmp_path, whole):
    run(tmp_path, max_steps=4)
    shutil.rmtree(tmp_path / "wise_ft")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4
    assert_equal_runs(tmp_path, resume(tmp_path), *whole)


def test_should_stop_inside_an_epoch(tmp_path, whole):
    """Lightning validates before it stops; the checkpoint does not know of that, nor does the whole run."""
    run(tmp_path, Stop(4, "should_stop"))
    shutil.rmtree(tmp_path / "wise_ft")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4
    assert_equal_runs(tmp_path, resume(tmp_path), *whole)


@pytest.mark.parametrize("save", [{}, None], ids=["saved after validation", "saved before it"])
def test_inside_an_epoch_that_is_validated_three_times(save, tmp_path):
    options = {"val_check_interval": 1 / 3, "save": save}
    (tmp_path / "whole").mkdir()
    expected = run(tmp_path / "whole", **options)
    with pytest.raises(InterruptedError):
        run(tmp_path / "stopped", Stop(5), **options)
    resumed = resume(tmp_path / "stopped", **options)
    assert_equal_runs(tmp_path / "stopped", resumed, tmp_path / "whole", expected)


def test_a_checkpoint_holds_tensors_and_plain_values_only(whole):
    folder, (_, used, _) = whole
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    states = checkpoint["callbacks"]
    assert same_state(states["WiseFT"]["theta0"], used[5].theta0)
    assert {"python", "numpy", "torch", "cuda"} == set(states["RandomStates"])
    assert sum(key.startswith("KurtosisMonitor") for key in states) == 2


def test_monitors_of_other_weights_or_heads_keep_their_states_apart():
    options = [{}, {"weights": ["fc.weight"]}, {"weights": ["stem.weight"]}, {"head": "fc"}]
    assert len({SpectrumMonitor(layers=["fc:input"], **option).state_key for option in options}) == len(options)


def test_without_the_random_states_the_resumed_run_draws_something_else(tmp_path, whole, monkeypatch):
    """So the comparison above can fail."""
    with pytest.raises(InterruptedError):
        run(tmp_path, Stop(4))
    monkeypatch.setattr(RandomStates, "on_train_start", lambda *_: None)
    module, *_ = resume(tmp_path)
    assert not same_state(module.state_dict(), whole[1][0].state_dict())


def test_a_monitor_that_joins_later_has_its_control_but_no_curves_from_before(tmp_path):
    first = trainer(tmp_path, max_epochs=1)
    first.fit(Ours(), datamodule=Data())
    first.save_checkpoint(tmp_path / "a.ckpt")
    monitor, keep = SpectrumMonitor(untrained=True), Keep()
    trainer(tmp_path, callbacks=[monitor, keep]).fit(
        Ours(), datamodule=Data(), ckpt_path=tmp_path / "a.ckpt", weights_only=True
    )
    assert [(entry["epoch"], entry["step"]) for entry in monitor.history] == [(1, 3), (2, 6)]
    assert monitor.before == {}
    assert f"spectrum/{LAYER}/rankme/untrained" in monitor.history[0]["scalars"]


def test_finetuning_on_scenes(tiny_folder, tmp_path):
    def fit(folder, *extra, resume=False):
        folder.mkdir(exist_ok=True)
        torch.manual_seed(int(resume))
        module = ClassifierFinetuning(f"local-dir:{tiny_folder}", lr=1e-2, warmup_steps=1)
        sizes = {"n_train": 24, "n_val": 10, "n_val_shift": 5, "n_test": 10, "n_concepts": 60}
        data = ScenesDataModule(transform=module.transform, batch_size=8, **sizes)
        monitors = [SignatureMonitor(weights=["model.head.weight"]), ConceptMonitor()]
        wise = WiseFT([0.5], folder=folder / "wise_ft", replicates=20)
        save = ModelCheckpoint(folder, save_last=True, every_n_train_steps=1)
        used = [RandomStates(), *monitors, wise, CurveRecorder(folder / "signatures.csv"), save, *extra]
        path = {"ckpt_path": folder / "last.ckpt", "weights_only": True} if resume else {}
        trainer(folder, callbacks=used, enable_checkpointing=True).fit(module, datamodule=data, **path)
        return module, wise

    whole, wise = fit(tmp_path / "whole")
    with pytest.raises(InterruptedError):
        fit(tmp_path / "stopped", Stop(4))
    resumed, again = fit(tmp_path / "stopped", resume=True)
    assert same_state(resumed.state_dict(), whole.state_dict())
    assert str(again.path) == str(wise.path)
    assert len(list((tmp_path / "whole/wise_ft").iterdir())) == 6
    for file in (tmp_path / "whole/wise_ft").iterdir():
        assert filecmp.cmp(file, tmp_path / "stopped/wise_ft" / file.name, shallow=False)
    rows, expected = (read_curves(tmp_path / name / "signatures.csv") for name in ("stopped", "whole"))
    assert [str(row) for row in rows] == [str(row) for row in expected]
    assert {row.step for row in rows} == {0, 3, 6}
