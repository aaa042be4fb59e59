"""The average of the weights, by Lightning's callback, in real runs of a few steps."""

from types import SimpleNamespace

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging

from lightning_robust.callbacks import WiseFT
from lightning_robust.training import ClassifierFinetuning, ContrastiveFinetuning
from lightning_robust.training.averages import copy_into_averages

DECAY = 0.5


class ByHand(Callback):
    """The same average by hand, of the head alone."""

    def __init__(self, name):
        self.name, self.average = name, None

    def on_train_batch_end(self, trainer, pl_module, *_):
        value = pl_module.get_parameter(self.name).detach().clone()
        self.average = value if self.average is None else DECAY * self.average + (1 - DECAY) * value


def test_theta1_is_the_average(tiny_folder, data, trainer):
    module = ClassifierFinetuning(f"local-dir:{tiny_folder}", lr=1e-3, warmup_steps=1)
    by_hand, path = ByHand("model.head.weight"), WiseFT(replicates=20)
    run = trainer(max_epochs=2, callbacks=[by_hand, EMAWeightAveraging(decay=DECAY), path])
    run.fit(module, datamodule=data)
    torch.testing.assert_close(module.model.head.weight.detach(), by_hand.average, rtol=1e-5, atol=1e-6)
    assert len(path.path.rows) == 11


def test_a_resumed_run_equals_the_whole_one(tiny_folder, data, trainer, stop_after, tmp_path):
    def fit(module, epochs=None, checkpoint=None):
        stop = [] if epochs is None else [stop_after(epochs)]
        run = trainer(max_epochs=3, callbacks=[EMAWeightAveraging(decay=DECAY), *stop])
        run.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=None if checkpoint is None else True)
        return run

    def fresh():
        return ClassifierFinetuning(f"local-dir:{tiny_folder}", lr=1e-3, warmup_steps=1)

    whole, second = fresh(), fresh()
    fit(whole)

    class Keep(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

    run = trainer(max_epochs=3, callbacks=[EMAWeightAveraging(decay=DECAY), Keep(), stop_after(2)])
    run.fit(fresh(), datamodule=data)
    fit(second, checkpoint=tmp_path / "last.ckpt")
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())


def test_the_head_of_averaged_towers_is_their_own(tiny_folder, data, trainer):
    module = ContrastiveFinetuning(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=1)
    trainer(max_epochs=3, callbacks=[EMAWeightAveraging(decay=DECAY)]).fit(module, datamodule=data)
    control = ContrastiveFinetuning(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=1)
    trainer().validate(control, datamodule=data, verbose=False)
    control.model.encoder.load_state_dict(module.model.clip_state_dict())
    assert torch.equal(module.head_weight(), control.head_weight())


def test_a_checkpoint_of_averaged_towers_holds_their_own_head(tiny_folder, data, trainer, tmp_path):
    module = ContrastiveFinetuning(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=1)

    class Keep(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            before = {name: value.clone() for name, value in pl_module.state_dict().items()}
            trainer.save_checkpoint(tmp_path / "last.ckpt")
            assert all(torch.equal(before[name], value) for name, value in pl_module.state_dict().items())

    trainer(max_epochs=2, callbacks=[EMAWeightAveraging(decay=0.9), Keep()]).fit(module, datamodule=data)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for part in ("state_dict", "current_model_state"):
        state = {name.removeprefix("model."): value for name, value in saved[part].items()}
        module.model.load_state_dict(state)
        assert torch.equal(state["head.weight"], module.head_weight()), part
    averaged, current = (saved[part]["model.head.weight"] for part in ("state_dict", "current_model_state"))
    assert not torch.allclose(averaged, current, rtol=1e-3, atol=1e-3)


def test_the_average_lives_on_the_device_of_the_training():
    module, average = LightningModule(), EMAWeightAveraging(decay=DECAY)
    module.model = torch.nn.Linear(2, 2)
    strategy = SimpleNamespace(root_device=torch.device("meta"))  # stands for an accelerator
    copy_into_averages(SimpleNamespace(callbacks=[average], strategy=strategy), module)
    assert {value.device.type for value in average._average_model.parameters()} == {"meta"}
