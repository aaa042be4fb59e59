"""`LogSteps(recalibrate=…)`: what is measured has the statistics of the weights as they are, and training its own."""

import lightning.pytorch as pl
import pytest
import torch
from callback_cases import LAYER, Scored, random_states, same_state, seed_all, trainer
from launching import launched
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from recalibrated_cases import Far, Frozen, Weights, fit
from safetensors.torch import load_file
from torch import nn

from lightning_robust.callbacks import KurtosisMonitor, LogSteps
from lightning_robust.callbacks.step_checkpoints import step_files
from lightning_robust.errors import UserError
from lightning_robust.signatures import activation_kurtosis


def by_hand(state, x):
    """Mean and unbiased variance of the batch norm's inputs over all images, in float64."""
    h = x.double() @ state["stem.weight"].double().T + state["stem.bias"].double()
    return h.mean(dim=0), h.var(dim=0)


def test_training_is_bitwise_that_of_a_run_without(tmp_path):
    plain, _ = fit(tmp_path / "plain", recalibrate=0)
    states = random_states()
    model, _ = fit(tmp_path / "with")
    assert same_state(model.state_dict(), plain.state_dict())
    assert model.losses == plain.losses
    assert random_states() == states
    assert [m.training for m in model.modules()] == [m.training for m in plain.modules()]


def test_the_checkpoint_of_a_step_has_its_weights_and_the_statistics_of_all_images(tmp_path):
    weights = Weights()
    fit(tmp_path, weights)
    found = step_files(tmp_path / "steps")
    for step in (0, 1, 2, 3, 4):
        state, kept = weights.states[step], load_file(found[step])
        mean, variance = by_hand(state, Far().rows.tensors[0])
        torch.testing.assert_close(kept["norm.running_mean"].double(), mean, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(kept["norm.running_var"].double(), variance, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(kept["norm.running_mean"], state["norm.running_mean"], rtol=0.1)
        others = {name: value for name, value in kept.items() if "running" not in name}
        assert others.keys() == {name for name in state if "running" not in name}
        assert same_state(others, {name: state[name] for name in others})


def test_what_is_measured_before_training_has_them(tmp_path):
    monitor = KurtosisMonitor(layers=[LAYER])
    model, _ = fit(tmp_path, monitor, max_epochs=1)
    start = Scored(seed=0).eval()
    x = Far().rows.tensors[0]
    mean, variance = by_hand(start.state_dict(), x)
    start.norm.running_mean.copy_(mean)
    start.norm.running_var.copy_(variance)
    with torch.no_grad():
        h = torch.relu(start.norm(start.stem(x)))
    expected = activation_kurtosis(h).mean().item()
    tag = f"kurtosis/{LAYER}"
    assert monitor.history[0]["step"] == 0
    assert monitor.history[0]["scalars"][tag] == pytest.approx(expected, rel=1e-4)
    without = KurtosisMonitor(layers=[LAYER])
    fit(tmp_path / "without", without, recalibrate=0, max_epochs=1)
    assert without.history[0]["scalars"][tag] != pytest.approx(expected, rel=0.05)
    assert model.training


def test_so_many_images_and_no_more_are_run(tmp_path):
    weights = Weights()
    fit(tmp_path, weights, recalibrate=16, max_epochs=1)
    kept = load_file(step_files(tmp_path / "steps")[0])
    mean, _ = by_hand(weights.states[0], Far().rows.tensors[0][:16])
    torch.testing.assert_close(kept["norm.running_mean"].double(), mean, rtol=1e-5, atol=1e-4)


class Save(pl.Callback):
    """Write a checkpoint inside the validation after a step."""

    def __init__(self, folder, step):
        self.folder, self.step = folder, step

    def on_validation_epoch_end(self, trainer, module):
        if trainer.global_step == self.step and not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / "inside.ckpt")
            trainer.save_checkpoint(self.folder / "inside-weights.ckpt", weights_only=True)


def test_checkpoints_of_a_run_have_the_statistics_of_training(tmp_path):
    weights = Weights()
    last = ModelCheckpoint(tmp_path, "at-{step}", save_top_k=-1, save_on_train_epoch_end=False)
    fit(tmp_path, weights, Save(tmp_path, 2), last, enable_checkpointing=True)
    files = [tmp_path / "inside.ckpt", tmp_path / "inside-weights.ckpt", tmp_path / "at-step=2.ckpt"]
    for file in files:
        saved = torch.load(file, weights_only=True)["state_dict"]
        assert same_state(saved, {name: weights.states[2][name] for name in saved}), file.name


class Stop(pl.Callback):
    def on_validation_batch_end(self, trainer, *_):
        if trainer.global_step == 2 and not trainer.sanity_checking:
            raise InterruptedError


def test_a_run_that_breaks_off_in_a_validation_has_its_own_statistics(tmp_path):
    seed_all()
    model, states = Scored(), Weights()
    with pytest.raises(InterruptedError):
        trainer(tmp_path, callbacks=[LogSteps(recalibrate=48), states, Stop()]).fit(model, datamodule=Far())
    plain, _ = fit(tmp_path / "plain", recalibrate=0, max_steps=2, max_epochs=-1)
    assert same_state(model.state_dict(), plain.state_dict())


def test_a_run_without_validations_writes_them_too(tmp_path):
    weights = Weights()
    seed_all()
    log = LogSteps(validate=False, recalibrate=48)
    trainer(tmp_path, callbacks=[log, weights], limit_val_batches=0).fit(Scored(), datamodule=Far())
    for step, path in list(step_files(tmp_path / "steps").items())[:-1]:
        mean, _ = by_hand(weights.states[step], Far().rows.tensors[0])
        torch.testing.assert_close(load_file(path)["norm.running_mean"].double(), mean, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Found 1 module.s. in eval mode")
def test_frozen_batch_norms_keep_their_statistics(tmp_path):
    fit(tmp_path, module=Frozen, max_epochs=1)
    for path in step_files(tmp_path / "steps").values():
        kept = load_file(path)
        assert not kept["fixed.running_mean"].any()
        assert kept["norm.running_mean"].abs().max() > 1


class NoNorm(Scored):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.norm = nn.LayerNorm(40)


class NoForward(Scored):
    forward = pl.LightningModule.forward


class TwoArguments(Scored):
    def forward(self, x, y):
        return super().forward(x)


@pytest.mark.parametrize(
    ("module", "extra", "said"),
    [
        (NoNorm, [], "recalibrate= is for batch norms with running statistics, and NoNorm trains none"),
        (NoForward, [], "runs images through NoForward, which has no forward"),
        (TwoArguments, [], r"runs images alone through TwoArguments, and its forward takes \(x, y\)"),
        (Scored, [EMAWeightAveraging()], "does not go with averaged weights"),
    ],
)
def test_what_cannot_be_is_refused_before_training(module, extra, said, tmp_path):
    seed_all()
    with pytest.raises(UserError, match=said):
        trainer(tmp_path, callbacks=[*extra, LogSteps(recalibrate=48)]).fit(module(), datamodule=Far())
    assert not (tmp_path / "steps").exists()


def test_a_number_of_images_is_no_negative_one():
    with pytest.raises(UserError, match="0 for none, got -1"):
        LogSteps(recalibrate=-1)


def test_statistics_of_no_images_are_warned_about_once_they_would_be_measured(tmp_path, recwarn):
    with pytest.warns(UserWarning, match=r"batch norms of Scored begin with a running mean of 0 .*recalibrate=3000"):
        fit(tmp_path / "first", recalibrate=0, max_epochs=1)

    def seen(name, log, module):
        recwarn.clear()
        trainer(tmp_path / name, callbacks=[log], max_epochs=1).fit(module, datamodule=Far())
        return [str(one.message) for one in recwarn if "batch norms of" in str(one.message)]

    trained = Scored()
    trained.norm.num_batches_tracked += 1
    assert not seen("trained", LogSteps(), trained)
    assert not seen("late", LogSteps(steps=[100, 200]), Scored())
    assert not seen("mended", LogSteps(recalibrate=48), Scored())
    assert seen("again", LogSteps(), Scored())


class SaveAtStart(pl.Callback):
    def on_train_start(self, trainer, module):
        for only in (True, False):
            trainer.save_checkpoint(f"{trainer.default_root_dir}/start-{only}.ckpt", weights_only=only)


def test_weights_that_are_saved_before_training_have_its_statistics(tmp_path):
    fit(tmp_path, SaveAtStart(), max_epochs=1)
    for only in (True, False):
        saved = torch.load(tmp_path / f"start-{only}.ckpt", weights_only=True)["state_dict"]
        assert same_state(saved, Scored(seed=0).state_dict()), only


@pytest.mark.slow
def test_processes_run_images_of_their_own_and_have_the_statistics_of_all(tmp_path):
    (one,) = launched("recalibrated_processes.py", tmp_path / "one", 1, "whole")
    two = launched("recalibrated_processes.py", tmp_path / "two", 2, "whole")
    assert two[0] == two[1]
    assert two[0]["ran"] == one["ran"] == [64]
    assert two[0]["mean"] == pytest.approx(one["mean"], rel=1e-5)
    assert two[0]["variance"] == pytest.approx(one["variance"], rel=1e-5)


@pytest.mark.slow
def test_an_error_of_one_process_ends_all(tmp_path):
    first, second = launched("recalibrated_processes.py", tmp_path, 2, "broken", timeout=120)
    assert "process 1 ended with: no such image" in first["error"]
    assert second["error"] == "no such image"
