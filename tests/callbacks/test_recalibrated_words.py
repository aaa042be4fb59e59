"""`LogSteps(recalibrate=…)` tells what it did: what is left out, what is chosen by, how many images were run."""

import pytest
import torch
from callback_cases import Scored, seed_all, trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from recalibrated_cases import Far, Frozen, Weights, fit
from safetensors.torch import load_file
from torch import nn

from lightning_robust.callbacks import LogSteps
from lightning_robust.callbacks.step_checkpoints import step_files


class Diverges(Scored):
    """Its weights are no numbers from the third step on."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.global_step == 3:
            self.stem.weight.data.fill_(float("nan"))


def test_a_run_that_diverges_goes_on_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="leaves the statistics of batch norm 'norm' as .* at step 3: it has inputs"):
        model, log = fit(tmp_path, module=Diverges)
    assert len(model.losses) == 6
    assert log.done == [0, 1, 2, 3, 4, 6]
    assert "'norm' has inputs that are not all finite numbers at step 3" in log.convention


class Projected(Scored):
    """A batch norm that training alone goes through."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.projector = nn.BatchNorm1d(5)

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) + self.projector(self(batch[0])).square().mean()


def test_a_batch_norm_that_images_do_not_reach_keeps_its_statistics(tmp_path):
    weights = Weights()
    with pytest.warns(UserWarning, match="statistics of batch norm 'projector' as .* at step 0: it was not reached"):
        _, log = fit(tmp_path, weights, module=Projected)
    kept, state = load_file(step_files(tmp_path / "steps")[2]), weights.states[2]
    assert torch.equal(kept["projector.running_mean"], state["projector.running_mean"])
    assert not torch.allclose(kept["norm.running_mean"], state["norm.running_mean"], rtol=0.1)
    assert "'projector' was not reached" in log.convention


class FrozenLater(Frozen):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.fixed.train()

    def on_train_epoch_start(self):
        self.fixed.eval()


@pytest.mark.filterwarnings("ignore:Found 1 module.s. in eval mode")
def test_batch_norms_that_are_frozen_later_are_told_of(tmp_path):
    with pytest.warns(UserWarning, match="statistics of batch norm 'fixed' at its first step alone"):
        _, log = fit(tmp_path, module=FrozenLater, max_epochs=1)
    assert "'fixed' is frozen after the first" in log.convention


def test_a_checkpoint_that_is_chosen_by_a_validated_figure_is_warned_about(tmp_path):
    best = ModelCheckpoint(tmp_path / "best", monitor="val/reference/accuracy")
    with pytest.warns(UserWarning, match=r"monitor='val/reference/accuracy'\) saves those of training"):
        fit(tmp_path, best, enable_checkpointing=True, max_epochs=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recalibrate": 10**6}, "over 48 training images for the validation and the checkpoint of each step"),
        ({"recalibrate": 17, "checkpoints": False}, "over 32 training images for the validation of each step"),
        ({"recalibrate": 48, "validate": False}, "over 48 training images for the checkpoint of each step of LogSteps"),
        ({"recalibrate": 0}, "as training left them"),
        ({"recalibrate": 48, "steps": [100], "checkpoints": False}, "over 48 training images for the validation"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:The batch norms of")
def test_the_words_are_those_of_what_was_done(options, said, tmp_path):
    seed_all()
    log = LogSteps(**options)
    assert "came to no step" in log.convention or not log.recalibrate
    trainer(tmp_path, callbacks=[log], max_epochs=1).fit(Scored(), datamodule=Far())
    assert said in log.convention
    assert ("at other moments has those of training" in log.convention) == bool(log.recalibrate)
    again = LogSteps(**options)
    again.load_state_dict(log.state_dict())
    assert again.convention == log.convention
