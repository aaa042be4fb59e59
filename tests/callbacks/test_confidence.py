"""Confidence live: the head's own logits on the validation images, in the pass that runs anyway."""

import numpy as np
import pytest
import scipy.special
import torch
from callback_cases import (
    LAYER,
    OWN,
    QUIET,
    REFERENCE,
    Data,
    Keep,
    Noisy,
    Ours,
    Scored,
    draw,
    eval_features,
    loader,
    trainer,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.callbacks import ConfidenceMonitor, SignatureMonitor, WiseFT
from lightning_robust.callbacks.collector import Collector
from lightning_robust.callbacks.confidence import ConfidenceSignature
from lightning_robust.callbacks.passes import run_pass
from lightning_robust.errors import UserError
from lightning_robust.models.networks import load_network
from lightning_robust.signatures import prediction_confidence

pytestmark = QUIET
NAMES = ("mean", "entropy", "margin", "accuracy", "overconfidence", "ece")


def by_hand(state, x, y):
    p = scipy.special.softmax(eval_features(state, x) @ state["fc.weight"].double().numpy().T, axis=1)
    ordered, right = np.sort(p, axis=1), p.argmax(axis=1) == y.numpy()
    return {
        "confidence/mean": ordered[:, -1].mean(),
        "confidence/margin": (ordered[:, -1] - ordered[:, -2]).mean(),
        "confidence/entropy": scipy.special.entr(p).sum(axis=1).mean() / np.log(p.shape[1]),
        "confidence/accuracy": right.mean(),
        "confidence/overconfidence": ordered[:, -1].mean() - right.mean(),
    }


@pytest.mark.parametrize("images", ["validation", "own"])
def test_figures_of_every_epoch_equal_numpy_s(images, tmp_path):
    keep = Keep()
    monitor = ConfidenceMonitor(images=images if images == "validation" else loader(OWN, 20, shuffle=True))
    module = Scored()
    run = trainer(tmp_path, callbacks=[keep, monitor])
    run.fit(module, datamodule=Data())
    x, y = draw(REFERENCE, 30) if images == "validation" else draw(OWN, 20)
    assert [entry["step"] for entry in monitor.history] == [0, 3, 6]
    for entry in monitor.history:
        expected = by_hand(keep.states[entry["step"]], x, y)
        found = {tag: entry["scalars"][tag] for tag in expected}
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert set(entry["scalars"]) == {f"confidence/{name}" for name in NAMES} | {f"not_finite/{LAYER}/confidence"}
    if images == "validation":
        assert run.callback_metrics["confidence/accuracy"] == run.callback_metrics["val/reference/accuracy"]
        passes = [call for call in module.forwards if not call[0] and call[1] == REFERENCE]
        assert len(passes) == 2 * (
            1 + 2 * 2
        )  # two batches: before training, and twice a validation by the module itself


def test_a_head_by_name_with_a_bias(tmp_path):
    class Biased(Noisy):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(self.fc.in_features, self.fc.out_features)

    module = Biased()
    monitor = ConfidenceMonitor(head="fc", layers=["stem", "fc:input"])
    trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(module, datamodule=Data())
    x, y = draw(REFERENCE, 30)
    with torch.no_grad():
        want = prediction_confidence(module.eval()(x), y)
    found = monitor.history[-1]["scalars"]
    assert [found[f"confidence/{name}"] for name in NAMES] == pytest.approx(
        [getattr(want, name) for name in NAMES], rel=1e-4
    )


class Classifier(nn.Module):
    """A classifier of this package under the names of its modules."""

    representation_layer = "model.encoder.visual"

    def __init__(self):
        super().__init__()
        self.model = load_network("scenes-supervised").model

    def head_weight(self):
        return self.model.head.weight.detach()

    def forward(self, images):
        return self.model(images)


@pytest.fixture(scope="module")
def classifier():
    return Classifier().eval()


def collected(module, batches):
    collector = Collector(module, [ConfidenceSignature()], [module.representation_layer], "mean", False)
    return run_pass([collector], module, batches, None, lambda batch: batch)[0].scalars


def test_a_clip_s_head_reads_h_of_unit_length_with_its_temperature(classifier):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, 32, 32, generator=generator), torch.randint(-1, 20, (12,), generator=generator)
    found = collected(classifier, [(x[:8], y[:8]), (x[8:], y[8:])])
    with torch.no_grad():
        want = prediction_confidence(classifier(x), y)
    assert 0 < want.labelled < 12
    assert [found[f"confidence/{name}"] for name in NAMES] == pytest.approx(
        [getattr(want, name) for name in NAMES], rel=1e-4
    )


@pytest.mark.parametrize("labels", [None, torch.zeros(4, 3, dtype=torch.int8), torch.zeros(4)])
def test_without_classes_there_is_no_accuracy(labels, classifier):
    x = torch.zeros(4, 3, 32, 32)
    found = collected(classifier, [x if labels is None else (x, labels)])
    assert {tag for tag in found if tag.startswith("confidence/")} == {f"confidence/{name}" for name in NAMES[:3]}


def test_images_that_are_not_finite_are_counted(tmp_path):
    x, y = draw(OWN, 20)
    x[3, 0] = float("nan")
    monitor = ConfidenceMonitor(images=DataLoader(TensorDataset(x, y), batch_size=8))
    with pytest.warns(UserWarning, match="1 of 20 images"):
        trainer(tmp_path, callbacks=[monitor], max_epochs=1).fit(Ours(), datamodule=Data())
    scalars = monitor.history[0]["scalars"]
    assert scalars[f"not_finite/{LAYER}/confidence"] == 1
    assert 0 < scalars["confidence/mean"] < 1


def test_along_a_wise_ft_path(tmp_path):
    wise = WiseFT([0.0, 0.5, 1.0], module="", replicates=10)
    monitor = ConfidenceMonitor()
    trainer(tmp_path, callbacks=[monitor, wise]).fit(Ours(), datamodule=Data())
    found = [row.signatures["confidence/accuracy"] for row in wise.path.rows]
    assert found == [row.reference for row in wise.path.rows]
    assert len({row.signatures["confidence/mean"] for row in wise.path.rows}) == 3


@pytest.mark.parametrize(
    ("make", "module", "words"),
    [
        (lambda: ConfidenceMonitor(layers=["fc:input"]), Noisy, "Noisy has no head_weight"),
        (lambda: ConfidenceMonitor(layers=["stem"]), Ours, f"add '{LAYER}' to layers="),
        (lambda: ConfidenceMonitor(layers=["stem"], head="fc"), Noisy, "add 'fc:input' to layers="),
        (lambda: ConfidenceMonitor(layers=["fc:input"], head="stem.x"), Noisy, "is no linear head"),
    ],
)
def test_what_cannot_be_judged_is_said(make, module, words, tmp_path):
    with pytest.raises(UserError, match=words):
        trainer(tmp_path, callbacks=[make()]).fit(module(), datamodule=Data())


class Nameless(Ours):
    representation_layer = None


def test_a_head_without_a_layer_is_refused(tmp_path):
    with pytest.raises(UserError, match="names no representation_layer"):
        trainer(tmp_path, callbacks=[ConfidenceMonitor(layers=[LAYER])]).fit(Nameless(), datamodule=Data())


def test_settings_that_cannot_be():
    with pytest.raises(UserError, match="the head answers for images, not for tokens"):
        ConfidenceMonitor(pool="tokens")
    with pytest.raises(UserError, match="weights= has no effect on a monitor of confidence"):
        ConfidenceMonitor(weights=["fc.weight"])


def test_two_monitors_of_one_head_need_a_prefix(tmp_path):
    two = [ConfidenceMonitor(), SignatureMonitor(["confidence", "kurtosis"], layers=[LAYER, "stem"])]
    with pytest.raises(UserError, match="the confidence of the head under one tag"):
        trainer(tmp_path, callbacks=two).fit(Ours(), datamodule=Data())
