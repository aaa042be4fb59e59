"""What `LogSteps` writes: the model of each step, in the form that others load."""

from pathlib import Path

import open_clip
import pytest
import torch
from callback_cases import Data, Noisy, Scored, same_state, seed_all, trainer
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging
from safetensors.torch import load_file

from lightning_robust.callbacks import KurtosisMonitor, LogSteps
from lightning_robust.callbacks.step_checkpoints import check_no_other_run, step_files, step_path
from lightning_robust.data import ScenesDataModule
from lightning_robust.errors import UserError
from lightning_robust.models import ImageClassifier, load_encoder
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.merging_files import read_checkpoint
from lightning_robust.training import ClassifierFinetuning, ContrastivePretraining, SupervisedPretraining

SIZES = {"n_train": 24, "n_val": 10, "n_val_shift": 5, "n_test": 10, "n_concepts": 60, "batch_size": 8}


class Kept(Callback):
    """The state of the module after each step and before the first."""

    def __init__(self):
        self.states = {}

    def on_train_start(self, trainer, pl_module):
        self._keep(trainer, pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self._keep(trainer, pl_module)

    def _keep(self, trainer, pl_module):
        self.states[trainer.global_step] = {k: v.detach().clone() for k, v in pl_module.state_dict().items()}


def fit(folder, module, *callbacks, log=None, **data):
    seed_all()
    kept = Kept()
    scenes = ScenesDataModule(transform=module.transform, **SIZES, **data)
    run = trainer(folder, callbacks=[kept, LogSteps() if log is None else log, *callbacks], max_epochs=1)
    run.fit(module, datamodule=scenes)
    return kept.states, step_files(folder / "steps"), scenes


def without(state, start):
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


@pytest.mark.filterwarnings("ignore:Of the first batch")  # of the captions' words it knows the classes
def test_a_clip_in_pretraining(tiny_folder, tmp_path):
    module = ContrastivePretraining(f"local-dir:{tiny_folder}", lr=1e-2, warmup_steps=1)
    states, files, scenes = fit(tmp_path, module, task="caption")
    assert list(files) == [0, 1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == [path.name for path in files.values()]
    images = torch.stack([scenes.val_dataloader()[0].dataset[k][0] for k in range(4)])
    for step, path in files.items():
        state = load_file(path)
        assert same_state(state, without(states[step], "encoder."))
        plain = open_clip.create_model(f"local-dir:{tiny_folder}", load_weights=False)
        plain.load_state_dict(state)
        loaded = load_encoder(f"local-dir:{tiny_folder}@{path}")
        assert loaded.has_text
        assert torch.equal(loaded.model.eval().encode_image(images), plain.eval().encode_image(images))
    assert not torch.equal(load_file(files[0])["visual.conv1.weight"], load_file(files[3])["visual.conv1.weight"])


@pytest.mark.parametrize("kind", [SupervisedPretraining, ClassifierFinetuning])
def test_a_classifier_with_its_head_beside_it(kind, tiny_folder, tmp_path):
    module = kind(f"local-dir:{tiny_folder}", lr=1e-2, warmup_steps=1)
    states, files, scenes = fit(tmp_path, module)
    assert list(files) == [0, 1, 2, 3]
    assert len(list((tmp_path / "steps").iterdir())) == 8
    images = torch.stack([scenes.val_dataloader()[0].dataset[k][0] for k in range(4)])
    for step, path in files.items():
        own = without(states[step], "model.")
        checkpoint = read_checkpoint(path)
        assert checkpoint.has_head
        assert same_state(checkpoint.state, own)
        head = load_file(path.with_suffix(".head.safetensors"))
        assert list(head) == ["weight"]
        loaded = load_encoder(f"local-dir:{tiny_folder}@{path}")
        tower = loaded.model if kind is ClassifierFinetuning else ImageTower(loaded.model.get_submodule("visual"))
        model = ImageClassifier(tower, head["weight"])
        module.load_state_dict(states[step])
        torch.testing.assert_close(model.eval()(images), module.eval()(images))


def test_of_a_module_of_ones_own_all_or_a_part(tmp_path):
    for name, start in ((None, ""), ("fc", "fc.")):
        seed_all()
        kept, folder = Kept(), tmp_path / str(name)
        log = LogSteps(steps=[2], module=name)
        trainer(folder, callbacks=[kept, log], max_epochs=1).fit(Scored(), datamodule=Data())
        assert list(step_files(folder / "steps")) == [2, 3]
        for step, path in step_files(folder / "steps").items():
            assert same_state(load_file(path), without(kept.states[step], start))


@pytest.mark.parametrize("validate", [True, False])
def test_averaged_weights_are_written_as_they_are_validated(validate, tmp_path):
    seed_all()
    ema, watched = EMAWeightAveraging(decay=0.5), KurtosisMonitor(layers=["fc:input"])
    averages = {}

    class Average(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            state = ema._average_model.module.state_dict()
            averages[trainer.global_step] = {k: v.clone() for k, v in state.items()}

    module = Noisy()
    log = LogSteps(validate=validate)
    trainer(tmp_path, callbacks=[ema, Average(), log, watched], max_epochs=2).fit(module, datamodule=Data())
    found = step_files(tmp_path / "steps")
    assert list(found) == [0, 1, 2, 3, 4, 6]
    for step in (1, 2, 3, 4, 6):
        assert same_state(load_file(found[step]), averages[step])
    assert not same_state(averages[3], averages[4])


def test_averaging_after_it_is_refused_where_steps_are_written_at_once(tmp_path):
    callbacks = [LogSteps(validate=False), EMAWeightAveraging()]
    with pytest.raises(UserError, match=r"put EMAWeightAveraging before LogSteps .* average a step before that is"):
        trainer(tmp_path, callbacks=callbacks).fit(Noisy(), datamodule=Data())


class Compiled(Scored):
    """A part of it goes through torch.compile, which puts a prefix into names."""

    def __init__(self, seed=0):
        super().__init__(seed)
        self.norm = torch.compile(self.norm, backend="eager")


def test_names_of_a_compiled_part_are_those_of_the_plain_one(tmp_path):
    seed_all()
    with torch.compiler.set_stance("force_eager"):  # names are what is tried
        trainer(tmp_path, callbacks=[LogSteps(steps=[1])], max_epochs=1).fit(Compiled(), datamodule=Data())
    assert any("_orig_mod" in name for name in Compiled().state_dict())
    for path in step_files(tmp_path / "steps").values():
        assert load_file(path).keys() == Scored().state_dict().keys()


def test_a_checkpoint_that_cannot_be_written_leaves_nothing_half_written(tmp_path, monkeypatch):
    def broken(tensors, path, metadata=None):
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("lightning_robust.models.checkpoint_files.save_file", broken)
    with pytest.raises((OSError, ValueError), match="no space left"):
        trainer(tmp_path, callbacks=[LogSteps()], max_epochs=1).fit(Scored(), datamodule=Data())
    assert not list((tmp_path / "steps").iterdir())


def test_files_of_a_folder_are_in_the_order_of_steps(tmp_path):
    for step in (3, 0, 1_000_000, 20):
        step_path(tmp_path, step).touch()
    step_path(tmp_path, 20).with_suffix(".head.safetensors").touch()
    (tmp_path / "step=last.safetensors").touch()
    (tmp_path / "alpha=0.50.safetensors").touch()
    assert list(step_files(tmp_path)) == [0, 3, 20, 1_000_000]
    assert step_files(tmp_path)[3].name == "step=000003.safetensors"
    assert step_files(tmp_path / "missing") == {}
    with pytest.raises(UserError, match="holds 4 step checkpoints of another run"):
        check_no_other_run(tmp_path)
