"""One pass, all metrics, nothing changed, clear refusals."""

from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.signatures import (
    ActivationKurtosis,
    ConceptAveragePrecision,
    DirectionImportance,
    FeatureSpectrum,
    OutlierFeatures,
    measure,
    neurons,
)
from lightning_robust.signatures.measure import named_metrics


class Net(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 4)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.head(self.norm(self.conv(x)).mean(dim=(2, 3)))


IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 2, (20, 3), generator=torch.Generator().manual_seed(1))


def net():
    torch.manual_seed(0)
    return Net()


def batches():
    return zip(IMAGES.split(6), LABELS.split(6), strict=True)


def test_one_pass_feeds_everything():
    model = net()
    result = measure(
        model,
        batches(),
        {
            "head:input": {
                "kurtosis": ActivationKurtosis(),
                "importance": DirectionImportance(model.head.weight),
                "concepts": ConceptAveragePrecision({"neurons": neurons(64)}),
            },
            "conv": [FeatureSpectrum(), OutlierFeatures()],
            "": ActivationKurtosis(),
        },
    )
    assert model.calls == 4
    assert {layer: set(group) for layer, group in result.items()} == {
        "head:input": {"kurtosis", "importance", "concepts"},
        "conv": {"FeatureSpectrum", "OutlierFeatures"},
        "": {"ActivationKurtosis"},
    }
    model.eval()
    with torch.no_grad():
        h = model.norm(model.conv(IMAGES)).mean(dim=(2, 3))
    want = scipy.stats.kurtosis(h.double().numpy(), axis=1, fisher=False).mean()
    # batches of other sizes may round differently in the convolution
    assert float(result["head:input"]["kurtosis"]["mean"]) == pytest.approx(want, rel=1e-4)
    assert result["head:input"]["concepts"]["ap/neurons"].shape == (64, 3)
    eigenvalues = np.linalg.eigvalsh(np.cov(model.conv(IMAGES).mean(dim=(2, 3)).detach().double().numpy().T, bias=True))
    np.testing.assert_allclose(
        result["conv"]["FeatureSpectrum"]["covariance_eigenvalues"][:5], eigenvalues[::-1][:5], rtol=1e-3
    )


def test_a_planted_outlier_in_the_last_layer_moves_every_outlier_figure():
    model = net()
    metrics = {"head:input": [ActivationKurtosis(), OutlierFeatures()]}
    before = measure(model, batches(), metrics)["head:input"]
    with torch.no_grad():
        model.norm.weight[7] *= 30
        model.norm.bias[7] = 30
    after = measure(model, batches(), metrics)["head:input"]
    assert before["OutlierFeatures"]["count"] == 0
    assert after["OutlierFeatures"]["count"] == 1
    assert after["OutlierFeatures"]["share"] > 0.5
    for metric, key in (("ActivationKurtosis", "mean"), ("OutlierFeatures", "neuron_norm_kurtosis")):
        assert after[metric][key] > 5 * before[metric][key]


def test_measuring_twice_starts_afresh():
    metric = ActivationKurtosis()
    first = measure(net(), batches(), {"conv": metric})
    again = measure(net(), batches(), {"conv": metric})
    assert first["conv"]["ActivationKurtosis"] == again["conv"]["ActivationKurtosis"]
    assert int(metric.compute()["n"]) == 20


def test_nothing_changes_with_a_shuffling_loader():
    """Drawing the loader's order consumes the global random state."""
    model = net()
    model.norm.eval()
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=7, shuffle=True)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    result = measure(model, loader, {"conv": ActivationKurtosis()})
    assert int(result["conv"]["ActivationKurtosis"]["n"]) == 20
    assert torch.equal(torch.get_rng_state(), random)
    assert (model.training, model.conv.training, model.norm.training) == (True, True, False)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())
    assert not model.conv._forward_hooks


def test_nothing_changes_when_a_metric_raises():
    model = net()
    random = torch.get_rng_state()

    class Refuses(ActivationKurtosis):
        def update(self, features):
            torch.rand(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure(model, batches(), {"conv": Refuses()})
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.conv._forward_hooks


def test_foreign_batches_need_a_hook_or_a_forward():
    model = net()
    foreign = [{"pixels": (IMAGES,), "id": ["a"]}]
    with pytest.raises(ValueError, match=r"a batch is dict with the keys 'pixels', 'id', .*give images_from_batch="):
        measure(model, foreign, {"conv": ActivationKurtosis()})
    images = {"images_from_batch": lambda batch: batch["pixels"][0]}
    assert (
        int(measure(model, foreign, {"conv": ActivationKurtosis()}, **images)["conv"]["ActivationKurtosis"]["n"]) == 20
    )
    result = measure(model, foreign, {"conv": ActivationKurtosis()}, forward=lambda m, batch: m(batch["pixels"][0]))
    assert int(result["conv"]["ActivationKurtosis"]["n"]) == 20


def test_tensors_lists_and_pooling():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    tokens = torch.randn(6, 5, 8)
    first, mean = (
        measure(layer, [tokens], {"linear1": FeatureSpectrum()}, pool=pool)["linear1"]["FeatureSpectrum"]
        for pool in ("first", "mean")
    )
    assert first["eigenvalues"].shape == (16,)
    assert first["eigenvalues"][0] > mean["eigenvalues"][0]


def test_tokens_with_the_batch_second_are_not_mixed():
    model, images = _Transposing().eval(), torch.randn(3, 7, 8)
    spectrum = measure(model, [images], {"layer": FeatureSpectrum()})["layer"]["FeatureSpectrum"]
    h = model(images).detach().mean(dim=0).double()  # the model gives (t, n, d)
    np.testing.assert_allclose(spectrum["eigenvalues"], torch.linalg.eigvalsh(h.T @ h / 3).flip(0), atol=1e-6)


class _Transposing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16)

    def forward(self, x):
        return self.layer(x.transpose(0, 1))


def test_device_is_where_batches_go():
    class Meta(nn.Module):
        def forward(self, x):
            self.seen = x.device.type
            return torch.ones(len(x), 4)

    model = Meta()
    measure(model, [IMAGES], {"": FeatureSpectrum()}, device="meta")
    assert model.seen == "meta"
    measure(model, [[IMAGES, "name"]], {"": FeatureSpectrum()})
    assert model.seen == "cpu"


def test_a_metric_with_labels_needs_them():
    metrics = {"head:input": ConceptAveragePrecision({"neurons": neurons(64)})}
    for images in ([IMAGES], [(IMAGES,)], [(IMAGES, "labels")]):
        with pytest.raises(ValueError, match="a metric uses labels"):
            measure(net(), images, metrics)


def test_refusals():
    with pytest.raises(ValueError, match="no batch"):
        measure(net(), [], {"conv": ActivationKurtosis()})
    with pytest.raises(ValueError, match=r"no layer 'cnv'; near names: conv"):
        measure(net(), batches(), {"cnv": ActivationKurtosis()})


def test_ways_to_give_metrics():
    a, b = ActivationKurtosis(), FeatureSpectrum()
    assert named_metrics({"x": a, "y": [b]}) == {"x": {"ActivationKurtosis": a}, "y": {"FeatureSpectrum": b}}
    with pytest.raises(ValueError, match="two metrics of one class"):
        named_metrics({"x": [a, ActivationKurtosis()]})
    with pytest.raises(ValueError, match="two places"):
        named_metrics({"x": a, "y": a})
    for nothing in ({}, {"x": []}, {"x": a, "y": {}}):
        with pytest.raises(ValueError, match="at least one"):
            named_metrics(nothing)


def test_a_batch_keeps_its_form_for_forward():
    class Batch(NamedTuple):
        pixels: torch.Tensor
        rest: tuple

    forms = []

    def forward(model, batch):
        forms.append((type(batch), type(batch.rest)))
        return model(batch.pixels)

    measure(net(), [Batch(IMAGES, (LABELS, "text"))], {"head:input": ActivationKurtosis()}, forward=forward)
    assert forms == [(Batch, tuple)]
