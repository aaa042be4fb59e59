"""Finetuning in real runs of a few steps."""

import open_clip
import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.models import load_encoder, zero_shot_head
from lightning_robust.training import ClassifierFinetuning
from lightning_robust.training.optimisation import warmup_cosine


@pytest.fixture
def module(tiny_folder):
    return ClassifierFinetuning(f"local-dir:{tiny_folder}", lr=3e-3, warmup_steps=2)


def test_before_training_it_is_the_zero_shot_clip(module, data, trainer, tiny_folder):
    (metrics, *_) = trainer().validate(module, datamodule=data, verbose=False)
    clip = load_encoder(f"local-dir:{tiny_folder}")
    head = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, data.class_names, data.templates)
    for name, (images, targets) in zip(data.val_loader_names, data.sets[1:], strict=True):
        with torch.no_grad():
            right = (clip.model.encode_image(images, normalize=True) @ head).argmax(dim=1) == targets
        assert metrics[f"val/{name}/accuracy"] == pytest.approx(right.float().mean().item())


def test_a_run_learns_and_logs_what_the_docstring_says(module, data, trainer):
    run = trainer(max_epochs=20)  # batch norm needs some steps to forget its start
    run.fit(module, datamodule=data)
    shifts = ["sketch", "rendition"]
    tags = {f"val/{name}/accuracy" for name in ["reference", *shifts, "shifts"]}
    assert set(run.callback_metrics) == {"train/loss"} | tags
    assert run.callback_metrics["val/reference/accuracy"] > 0.9
    (tested,) = [{k: v for part in run.test(module, datamodule=data, verbose=False) for k, v in part.items()}]
    assert set(tested) == {tag.replace("val/", "test/") for tag in tags}
    mean = sum(tested[f"test/{name}/accuracy"] for name in shifts) / 2
    assert tested["test/shifts/accuracy"] == pytest.approx(mean)


def test_only_image_tower_and_head_move_and_batch_norm_learns(module, data, trainer, tiny_folder):
    trainer().fit(module, datamodule=data)
    before = load_encoder(f"local-dir:{tiny_folder}").model.state_dict()
    after = module.model.clip_state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("visual.") for name in moved)
    assert {"visual.bn1.running_mean", "visual.conv1.weight", "visual.attnpool.c_proj.weight"} <= moved
    head = zero_shot_head(module.loaded.model, module.loaded.tokenizer, data.class_names, data.templates)
    assert not torch.equal(module.model.head.weight, head)


def test_the_clip_stands_once_in_the_state_dict(module, data, trainer):
    trainer().validate(module, datamodule=data, verbose=False)
    assert {name.split(".")[0] for name in module.state_dict()} == {"model"}
    assert {name.split(".")[1] for name in module.state_dict()} == {"encoder", "head"}


def test_a_checkpoint_loads_without_a_data_module_and_without_unpickling(module, data, trainer, tmp_path):
    run = trainer()
    run.fit(module, datamodule=data)
    run.save_checkpoint(tmp_path / "a.ckpt")
    loaded = ClassifierFinetuning.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert loaded.class_names == data.class_names
    assert loaded.templates == data.templates
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in module.state_dict().items())
    images = data.sets[2][0]
    with torch.no_grad():
        expected = module.eval()(images)
    for batches in (DataLoader(images, batch_size=24), DataLoader(TensorDataset(images, images), batch_size=24)):
        torch.testing.assert_close(torch.cat(trainer().predict(loaded, batches)), expected)


def test_a_stopped_and_resumed_run_equals_the_whole_one(data, trainer, tiny_folder, stop_after, tmp_path):
    def fresh():
        return ClassifierFinetuning(f"local-dir:{tiny_folder}", warmup_steps=2, label_smoothing=0.1)

    whole, first, second = fresh(), fresh(), fresh()
    trainer(max_epochs=3).fit(whole, datamodule=data)
    stopped = trainer(max_epochs=3, callbacks=[stop_after(2)])
    stopped.fit(first, datamodule=data)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    trainer(max_epochs=3).fit(second, datamodule=data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    assert not torch.equal(first.model.head.weight, whole.model.head.weight)


def test_the_untrained_control_has_random_towers_and_their_own_zero_shot_head(module, data, trainer, tiny_folder):
    trainer().fit(module, datamodule=data)
    state, rng = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    module.hparams["_instantiator"] = "of LightningCLI"  # which adds it to every module that it makes
    control = module.untrained_model()
    fresh = load_encoder(f"local-dir:{tiny_folder}", pretrained=False, seed=0)
    head = zero_shot_head(fresh.model, fresh.tokenizer, data.class_names, data.templates)
    assert torch.equal(control.head_weight(), head)
    assert torch.equal(control.model.encoder.visual.conv1.weight, fresh.model.visual.conv1.weight)
    assert not control.training
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())


def test_the_head_is_ready_for_names_given_by_hand(tiny_folder, data, trainer):
    module = ClassifierFinetuning(f"local-dir:{tiny_folder}", class_names=["fire truck", "star"], templates=["a {}"])
    images, targets = data.sets[0]
    trainer(max_epochs=1).fit(module, DataLoader(TensorDataset(images, targets % 2), batch_size=8))
    assert module.model.head.weight.shape == (2, 16)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({}, "No class_names and no templates"), ({"class_names": ["zebra"], "templates": ["a {}"]}, "'zebra'")],
)
def test_unusable_class_names_get_one_sentence(tiny_folder, data, trainer, arguments, match):
    module = ClassifierFinetuning(f"local-dir:{tiny_folder}", **arguments)
    with pytest.raises(ValueError, match=match):
        trainer().fit(module, data.train_dataloader())


def test_what_does_not_fit_is_refused(module, data, trainer, tiny_folder, tmp_path):
    with pytest.raises(ValueError, match=r"\[0, 1\), not 1"):
        ClassifierFinetuning(f"local-dir:{tiny_folder}", label_smoothing=1.0)
    with pytest.raises(ValueError, match="not known yet"):
        module.untrained_model()
    with pytest.raises(ValueError, match="not written by ClassifierFinetuning"):
        module.on_load_checkpoint({"state_dict": {}})
    run = trainer(max_epochs=1)
    run.fit(module, datamodule=data)
    run.save_checkpoint(tmp_path / "a.ckpt")
    other = type(data)()
    other.class_names = ["star", "heart"]
    with pytest.raises(ValueError, match="the data module has the 2 classes"):
        trainer().validate(module, datamodule=other, verbose=False)
    fresh = ClassifierFinetuning(f"local-dir:{tiny_folder}")
    with pytest.raises(ValueError, match="trained on other classes"):
        trainer().fit(fresh, datamodule=other, ckpt_path=tmp_path / "a.ckpt", weights_only=True)


def test_accumulated_batches_count_as_one_step_of_the_schedule(module, data, trainer):
    rates = []

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])

    run = trainer(max_epochs=4, accumulate_grad_batches=2, callbacks=[Rates()])
    run.fit(module, datamodule=data)  # three batches in an epoch: two steps, the second of a batch alone
    assert run.global_step == run.estimated_stepping_batches == 8
    assert rates == pytest.approx([3e-3 * warmup_cosine(step, warmup_steps=2, total_steps=8) for step in range(8)])


def test_a_warm_up_longer_than_the_run_is_said(tiny_folder, data, trainer):
    module = ClassifierFinetuning(f"local-dir:{tiny_folder}", warmup_steps=50)
    with pytest.warns(UserWarning, match="50 steps does not end within the run's 3 steps"):
        trainer(max_epochs=1).fit(module, datamodule=data)
