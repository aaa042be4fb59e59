"""Frozen parts: bitwise unchanged in real runs, batch-norm statistics included."""

import pytest
import torch
from torch import nn

from lightning_robust.training import ClassifierFinetuning, SupervisedPretraining
from lightning_robust.training.freezing import freeze, rest_frozen_parts

VISUAL = "model.encoder.visual"


def moved(module, before):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def fitted(tiny_folder, data, trainer, **options):
    """A module after a few steps with validation between, and its weights from before."""
    module = ClassifierFinetuning(f"local-dir:{tiny_folder}", lr=1e-2, warmup_steps=1, **options)
    trainer().validate(module, datamodule=data, verbose=False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer(max_epochs=2).fit(module, datamodule=data)
    return module, before


def test_only_the_head_moves_with_train_head(tiny_folder, data, trainer):
    module, before = fitted(tiny_folder, data, trainer, train="head")
    assert moved(module, before) == {"model.head.weight"}
    assert not any(part.training for part in module.model.encoder.modules())
    assert module.model.head.training


def test_named_parts_stand_still_and_the_rest_moves(tiny_folder, data, trainer):
    patterns = [f"{VISUAL}.conv1", f"{VISUAL}.bn1.*", f"{VISUAL}.layer[12]"]
    module, before = fitted(tiny_folder, data, trainer, freeze=patterns)
    still = set(before) - moved(module, before)
    frozen = {
        n for n in before if n.startswith(tuple(f"{VISUAL}.{p}" for p in ("conv1.", "bn1.", "layer1.", "layer2.")))
    }
    assert frozen <= still
    assert f"{VISUAL}.bn1.running_mean" in frozen
    expected = {f"{VISUAL}.conv2.weight", f"{VISUAL}.bn2.running_mean", f"{VISUAL}.layer3.0.conv1.weight"}
    assert expected | {"model.head.weight"} <= moved(module, before)
    assert not module.model.encoder.visual.layer1.training
    assert module.model.encoder.visual.layer3.training


def test_a_frozen_gain_alone_leaves_its_batch_norm_learning_statistics(tiny_folder, data, trainer):
    module, before = fitted(tiny_folder, data, trainer, freeze=[f"{VISUAL}.bn1.weight"])
    changed = moved(module, before)
    assert f"{VISUAL}.bn1.weight" not in changed
    assert {f"{VISUAL}.bn1.bias", f"{VISUAL}.bn1.running_mean"} <= changed


def test_modes_survive_training_and_evaluation(tiny_folder, data, trainer):
    seen = []

    class Looking(ClassifierFinetuning):
        def training_step(self, batch, batch_idx):
            visual = self.model.encoder.visual
            seen.append((visual.layer1.training, visual.layer2.training))
            return super().training_step(batch, batch_idx)

    module = Looking(f"local-dir:{tiny_folder}", warmup_steps=1, freeze=[f"{VISUAL}.layer1"])
    trainer(max_epochs=2, num_sanity_val_steps=-1).fit(module, datamodule=data)
    assert set(seen) == {(False, True)}
    module.train()
    assert not module.model.encoder.visual.layer1.training
    assert not module.eval().model.training


def test_a_resumed_run_equals_the_whole_one(tiny_folder, data, trainer, stop_after, tmp_path):
    def fresh():
        return ClassifierFinetuning(
            f"local-dir:{tiny_folder}", warmup_steps=2, freeze=[f"{VISUAL}.layer1"], layer_decay=0.65
        )

    whole, first, second = fresh(), fresh(), fresh()
    trainer(max_epochs=3).fit(whole, datamodule=data)
    stopped = trainer(max_epochs=3, callbacks=[stop_after(2)])
    stopped.fit(first, datamodule=data)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    trainer(max_epochs=3).fit(second, datamodule=data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    loaded = ClassifierFinetuning.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert not any(p.requires_grad for p in loaded.model.encoder.visual.layer1.parameters())


@pytest.mark.parametrize(
    ("patterns", "match"),
    [
        (
            ["model.encoder.visual.layr1"],
            r"'model.encoder.visual.layr1', which no parameter .* 'model.encoder.visual.lay",
        ),
        (["model.encoder.transformer"], "would not be trained anyway"),
        (["model.*"], "Nothing to train"),
    ],
)
def test_names_that_do_nothing_are_refused(tiny_folder, data, trainer, patterns, match):
    module = ClassifierFinetuning(f"local-dir:{tiny_folder}", freeze=patterns, warmup_steps=1)
    with pytest.raises(ValueError, match=match):
        trainer().fit(module, datamodule=data)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"train": "some"}, "not 'some'"),
        ({"freeze": []}, "freeze names nothing"),
        ({"train": "head", "freeze": ["model.head"]}, "freeze=.* has no effect on train='head'"),
        ({"train": "head", "layer_decay": 0.5}, "layer_decay=0.5 has no effect"),
        ({"layer_decay": 1.0}, r"layer_decay lies in \(0, 1\), not 1.0"),
    ],
)
def test_settings_without_effect_are_refused(tiny_folder, arguments, match):
    with pytest.raises(ValueError, match=match):
        ClassifierFinetuning(f"local-dir:{tiny_folder}", **arguments)


def test_parts_without_parameters_follow_the_part_they_are_in():
    model = nn.Sequential(
        nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False), nn.Dropout()), nn.Dropout(), nn.Linear(2, 2)
    )
    freeze(model, ["0"])
    rest_frozen_parts(model.train())
    assert [part.training for part in model[0]] == [False, False, False]
    assert model[1].training
    assert model[2].training
    with pytest.raises(ValueError, match="freeze is a list of names"):
        freeze(model, "2")


def test_modules_that_freeze_nothing_change_modes_as_ever(tiny_folder):
    module = SupervisedPretraining(f"local-dir:{tiny_folder}", class_names=["a", "b"])
    module._build(["a", "b"])
    assert all(part.training for part in module.train().modules())
