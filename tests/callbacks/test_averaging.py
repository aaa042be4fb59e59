"""Averaged weights are what Lightning validates, so they are what monitors measure, in either order of callbacks."""

import copy

import numpy as np
import pytest
import torch
from callback_cases import LAYER, OWN, REFERENCE, TRAIN, Noisy, NoValidation, hooks, loader, seed_all, trainer
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging
from safetensors.torch import load_file
from torch.optim.swa_utils import get_ema_avg_fn

from lightning_robust.callbacks import KurtosisMonitor, SignatureMonitor, WiseFT
from lightning_robust.errors import UserError
from lightning_robust.signatures import (
    ActivationKurtosis,
    DirectionImportance,
    FeatureSpectrum,
    matrix_spectrum,
    measure,
)

DECAY = 0.5


class ByHand(Callback):
    """The same average kept by hand: a copy of the module at each step."""

    def __init__(self):
        self.states, self.average, self.step = {}, None, 0

    def on_train_start(self, trainer, pl_module):
        self.average = {k: v.clone() for k, v in pl_module.state_dict().items()}
        self.states[0] = copy.deepcopy(self.average)

    def on_train_batch_end(self, trainer, pl_module, *_):
        first = trainer.global_step == 1  # Lightning's first update copies
        update = get_ema_avg_fn(DECAY)
        for name, value in pl_module.state_dict().items():
            old = self.average[name]
            moved = value.clone() if first or not value.is_floating_point() else update(old, value, None)
            self.average[name] = moved
        self.states[trainer.global_step] = copy.deepcopy(self.average)


def by_hand(state, images):
    """Figures of a module with these weights, by the plain functions."""
    module = Noisy()
    module.load_state_dict(state)
    metrics = {
        "kurtosis": ActivationKurtosis(), "spectrum": FeatureSpectrum(), "head": DirectionImportance(module.fc.weight),
    }  # fmt: skip
    found = measure(module, images, {LAYER: metrics})[LAYER]
    return {
        f"kurtosis/{LAYER}": float(found["kurtosis"]["mean"]),
        f"spectrum/{LAYER}/rankme": float(found["spectrum"]["rankme"]),
        f"importance/{LAYER}/raw/max_over_median": float(found["head"]["max_over_median"]),
        "weights/stem.weight/effective_rank": matrix_spectrum(module.stem.weight).effective_rank,
    }


@pytest.mark.parametrize("order", ["averaging first", "averaging last"])
@pytest.mark.parametrize("images", ["validation", "own"])
def test_head_weights_and_activations_are_those_of_the_average(order, images, tmp_path):
    seed_all()
    given = loader(OWN, 20) if images == "own" else images
    monitor = SignatureMonitor(layers=[LAYER], head="fc", weights=["stem.weight"], images=given)
    averaging, plain = EMAWeightAveraging(decay=DECAY), ByHand()
    callbacks = [averaging, monitor] if order == "averaging first" else [monitor, averaging]
    module = Noisy()
    trainer(tmp_path, callbacks=[plain, *callbacks], max_epochs=3).fit(module, loader(TRAIN, 48), loader(REFERENCE, 20))
    assert [entry["step"] for entry in monitor.history] == [0, 3, 6, 9]
    assert hooks(module) == 0
    raw = by_hand(module.state_dict(), loader(OWN if images == "own" else REFERENCE, 20))
    for entry in monitor.history:
        expected = by_hand(plain.states[entry["step"]], loader(OWN if images == "own" else REFERENCE, 20))
        for tag, value in expected.items():
            assert entry["scalars"][tag] == pytest.approx(value, rel=1e-6), tag
    assert raw[f"kurtosis/{LAYER}"] == pytest.approx(expected[f"kurtosis/{LAYER}"])  # put in at the end of training
    current = {entry["scalars"][f"kurtosis/{LAYER}"] for entry in monitor.history}
    assert len(current) == 4


def test_training_is_bitwise_the_same(tmp_path):
    states = []
    own = KurtosisMonitor(layers=["stem"], images=loader(OWN, 20), every_n_steps=2)
    for monitors in ([], [SignatureMonitor(layers=[LAYER], every_n_steps=1), own]):
        seed_all()
        module = Noisy()
        trainer(tmp_path, callbacks=[EMAWeightAveraging(decay=DECAY), *monitors]).fit(
            module, loader(TRAIN, 48), loader(REFERENCE, 20)
        )
        states.append((module.losses, module.state_dict()))
    assert states[0][0] == states[1][0]
    assert all(torch.equal(value, states[1][1][name]) for name, value in states[0][1].items())


@pytest.mark.parametrize("module", [Noisy, NoValidation])
def test_passes_outside_a_validation_measure_the_average_too(module, tmp_path):
    seed_all()
    plain, images = ByHand(), loader(OWN, 20)
    monitor = KurtosisMonitor(layers=[LAYER], images=images, every_n_steps=1)
    loaders = [loader(TRAIN, 32), *([loader(REFERENCE, 20)] if module is Noisy else [])]
    trainer(tmp_path, callbacks=[plain, EMAWeightAveraging(decay=DECAY), monitor]).fit(module(), *loaders)
    assert [entry["step"] for entry in monitor.history] == [0, 1, 2, 3, 4]
    for entry in monitor.history:
        expected = by_hand(plain.states[entry["step"]], images)
        assert entry["scalars"][f"kurtosis/{LAYER}"] == pytest.approx(expected[f"kurtosis/{LAYER}"], rel=1e-6)


def test_an_order_that_would_measure_or_keep_other_weights_is_refused(tmp_path):
    late = EMAWeightAveraging(decay=DECAY)
    monitor = KurtosisMonitor(layers=[LAYER], every_n_steps=1)
    with pytest.raises(UserError, match=r"put EMAWeightAveraging before KurtosisMonitor.*average a step before"):
        trainer(tmp_path, callbacks=[monitor, late]).fit(Noisy(), loader(TRAIN, 32), loader(REFERENCE, 20))
    with pytest.raises(UserError, match=r"put EMAWeightAveraging before WiseFT.*at the end of training"):
        trainer(tmp_path, callbacks=[WiseFT(module="", evaluate=False), late]).fit(NoValidation(), loader(TRAIN, 32))


def test_the_path_ends_at_the_average(tmp_path):
    seed_all()
    plain, wise = ByHand(), WiseFT(module="", evaluate=False)
    trainer(tmp_path, callbacks=[plain, EMAWeightAveraging(decay=DECAY), wise]).fit(
        Noisy(), loader(TRAIN, 32), loader(REFERENCE, 20)
    )
    end = load_file(wise.files[1.0][0])
    floating = {name: value for name, value in plain.states[4].items() if value.is_floating_point()}
    for name, value in floating.items():
        np.testing.assert_allclose(end[name].numpy(), value.numpy(), rtol=1e-6, atol=1e-7)


def test_a_measurement_that_raises_gives_the_training_weights_back(tmp_path, monkeypatch):
    seed_all()

    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            self.weights = pl_module.stem.weight.detach().clone()

    look, averaging = Look(), EMAWeightAveraging(decay=DECAY)
    monitor = KurtosisMonitor(layers=[LAYER], every_n_steps=2)
    calls, update = [], ActivationKurtosis.update

    def raising(self, *args):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("boom")
        return update(self, *args)

    monkeypatch.setattr(ActivationKurtosis, "update", raising)
    module = Noisy()
    with pytest.raises(RuntimeError, match="boom"):
        trainer(tmp_path, callbacks=[look, averaging, monitor]).fit(module, loader(TRAIN, 64), loader(REFERENCE, 20))
    assert torch.equal(module.stem.weight, look.weights)
    assert not torch.equal(averaging._average_model.module.stem.weight, look.weights)
