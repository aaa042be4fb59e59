"""Finetuning from a linear probe (LP-FT) in real runs of a few steps."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import WiseFT
from lightning_robust.models import load_encoder
from lightning_robust.training import ClassifierFinetuning

L2 = 1e-2


@pytest.fixture
def fresh(tiny_folder):
    def make(**options):
        return ClassifierFinetuning(f"local-dir:{tiny_folder}", head="linear-probe", l2=L2, warmup_steps=2, **options)

    return make


@pytest.fixture
def reference(tiny_folder, data):
    """The probe by scikit-learn, as a head of the classifier."""
    clip = load_encoder(f"local-dir:{tiny_folder}").model
    images, targets = data.sets[0]
    with torch.no_grad():
        scale = clip.logit_scale.exp().double()
        features = scale * clip.encode_image(images, normalize=True).double()
    probe = LogisticRegression(C=1 / (L2 * len(images)), fit_intercept=False, tol=1e-12, max_iter=10000)
    return (scale * torch.from_numpy(probe.fit(features.numpy(), targets.numpy()).coef_)).float()


class Start(WiseFT):
    """Wise-FT that also looks at the module when the fit begins."""

    def on_fit_start(self, trainer, pl_module):
        super().on_fit_start(trainer, pl_module)
        self.head = pl_module.model.head.weight.detach().clone()


def test_theta0_is_the_encoder_with_the_probe(fresh, data, trainer, reference, tiny_folder):
    path, module = Start(replicates=50), fresh()
    trainer(callbacks=[path]).fit(module, datamodule=data)
    torch.testing.assert_close(path.head, reference, rtol=1e-3, atol=1e-3)
    assert torch.equal(path.theta0["head.weight"], path.head)
    assert not torch.equal(module.model.head.weight, path.head)  # it was finetuned from there
    before = load_encoder(f"local-dir:{tiny_folder}").model.state_dict()
    assert all(torch.equal(path.theta0[f"encoder.{name}"], value) for name, value in before.items())
    images, targets = data.sets[1]
    with torch.no_grad():
        clip = load_encoder(f"local-dir:{tiny_folder}").model
        right = (clip.encode_image(images, normalize=True) @ path.head.T).argmax(dim=1) == targets
    assert path.path.rows[0].reference == pytest.approx(right.float().mean().item())


def test_images_without_augmentation_are_preferred(fresh, data, trainer, reference):
    class Augmented(type(data)):
        """Its training images are spoilt; those for a probe are not."""

        def train_dataloader(self):
            images, targets = self.sets[0]
            return DataLoader(TensorDataset(100.0 * torch.randn_like(images), targets), batch_size=8)

        def probe_dataloader(self):
            return DataLoader(TensorDataset(*self.sets[0]), batch_size=5)

    path = Start(evaluate=False)
    trainer(callbacks=[path], max_epochs=1).fit(fresh(), datamodule=Augmented())
    torch.testing.assert_close(path.head, reference, rtol=1e-3, atol=1e-3)


def test_words_need_not_be_known_and_random_states_are_those_of_a_run_without_probe(fresh, data, trainer, tiny_folder):
    states = []

    class Look(WiseFT):
        def on_fit_start(self, trainer, pl_module):
            super().on_fit_start(trainer, pl_module)
            states.append(torch.get_rng_state())

    data.train_dataloader = lambda: DataLoader(TensorDataset(*data.sets[0]), batch_size=8, shuffle=True)
    without = ClassifierFinetuning(f"local-dir:{tiny_folder}", warmup_steps=2)
    for module, names in ((without, data.class_names), (fresh(), ["zebra", "okapi", "gnu"])):
        data.class_names = names
        torch.manual_seed(0)
        trainer(callbacks=[Look(evaluate=False)], max_epochs=1).fit(module, datamodule=data)
    assert torch.equal(*states)


def test_a_stopped_and_resumed_run_equals_the_whole_one_and_fits_no_second_probe(
    fresh, data, trainer, stop_after, tmp_path, monkeypatch
):
    whole, first, second = fresh(), fresh(), fresh()
    paths = [WiseFT(evaluate=False, folder=tmp_path / name) for name in "abc"]
    trainer(max_epochs=3, callbacks=[paths[0]]).fit(whole, datamodule=data)
    stopped = trainer(max_epochs=3, callbacks=[stop_after(2), paths[1]])
    stopped.fit(first, datamodule=data)
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    monkeypatch.delattr("lightning_robust.training.finetuning.probe_head")
    resumed = trainer(max_epochs=3, callbacks=[paths[2]])
    resumed.fit(second, datamodule=data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    assert all(torch.equal(value, paths[2].theta0[name]) for name, value in paths[0].theta0.items())
    loaded = ClassifierFinetuning.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert torch.equal(loaded.model.head.weight, first.model.head.weight)
    (metrics, *_) = trainer().validate(loaded, datamodule=data, verbose=False)
    assert 0.0 <= metrics["val/reference/accuracy"] <= 1.0


def test_the_untrained_control_has_random_rows_of_one_length(fresh, data, trainer):
    module = fresh()
    trainer(max_epochs=1).fit(module, datamodule=data)
    control = module.untrained_model()
    np.testing.assert_allclose(control.head_weight().norm(dim=1).numpy(), 1 / 0.07, rtol=1e-6)
    assert torch.equal(control.head_weight(), module.untrained_model().head_weight())
    assert not control.training


def test_without_a_fit_or_data_there_is_no_probe(fresh, data, trainer):
    with pytest.raises(ValueError, match="no linear probe yet"):
        trainer().validate(fresh(), datamodule=data, verbose=False)
    module = fresh(class_names=data.class_names)
    with pytest.raises(ValueError, match="no linear probe yet"):
        trainer().predict(module, data.val_dataloader()[0])
    with pytest.raises(ValueError, match=r"give trainer\.fit a data module"):
        trainer().fit(fresh(class_names=data.class_names), data.train_dataloader())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"head": "linear-probe", "templates": ["a {}"]}, "templates have no effect"),
        ({"l2": 0.1}, "l2=0.1 has no effect on head='zero-shot'"),
        ({"head": "linear-probe", "l2": 0.0}, "l2 is above 0, not 0.0"),
        ({"head": "random"}, "not 'random'"),
    ],
)
def test_settings_without_effect_are_refused(tiny_folder, arguments, match):
    with pytest.raises(ValueError, match=match):
        ClassifierFinetuning(f"local-dir:{tiny_folder}", **arguments)


def test_an_encoder_without_a_text_tower(data, trainer):
    module = ClassifierFinetuning(
        "timm:test_resnet", pretrained=False, head="linear-probe", l2=L2, warmup_steps=1, layer_decay=0.7
    )
    path = Start(replicates=20)
    trainer(callbacks=[path], max_epochs=1).fit(module, datamodule=data)
    assert path.head.norm() > 0.0
    assert len(path.path.rows) == 11
