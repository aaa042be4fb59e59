"""One pass, all metrics, nothing changed, clear refusals."""

from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from open_clip.transformer import VisionTransformer
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
from lightning_robust.signatures.massive_metric import MassiveActivations
from lightning_robust.signatures.measure import named_metrics
from lightning_robust.signatures.mergeable import MergeableMetric


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


class LargestMagnitude(MergeableMetric):
    """The largest magnitude of unpooled outputs, and the images seen."""

    uses_hidden = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("largest", torch.zeros(()), dist_reduce_fx="max")
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.dimensions = set()

    def update(self, hidden):
        self.largest = torch.maximum(self.largest, hidden.abs().max())
        self.n += len(hidden)
        self.dimensions.add(hidden.ndim)

    def compute(self):
        return {"largest": self.largest, "n": self.n}


@pytest.mark.parametrize("pool", ["mean", "tokens"])
def test_metrics_of_unpooled_outputs_beside_others(pool):
    model, largest = net(), LargestMagnitude()
    result = measure(model, batches(), {"conv": [largest, ActivationKurtosis()], "head": LargestMagnitude()}, pool=pool)
    with torch.no_grad():
        maps = model.conv(IMAGES)
    assert float(result["conv"]["LargestMagnitude"]["largest"]) == pytest.approx(float(maps.abs().max()), rel=1e-5)
    assert float(result["conv"]["LargestMagnitude"]["largest"]) > 2 * float(maps.mean(dim=(2, 3)).abs().max())
    assert int(result["conv"]["LargestMagnitude"]["n"]) == int(result["head"]["LargestMagnitude"]["n"]) == 20
    assert int(result["conv"]["ActivationKurtosis"]["n"]) == (20 if pool == "mean" else 20 * 36)
    assert largest.dimensions == {4}


def test_a_massive_token_is_seen_unpooled_only():
    torch.manual_seed(0)
    tower = VisionTransformer(32, 8, width=32, layers=2, heads=4, mlp_ratio=2.0, output_dim=6).eval()
    with torch.no_grad():
        tower.positional_embedding[5, 9] += 1e4  # one feature of one token, before the norms
    tower.ln_pre = nn.Identity()
    images = torch.randn(4, 3, 32, 32)
    result = measure(tower, [images], {"transformer.resblocks.*": [MassiveActivations(), ActivationKurtosis()]})
    for layer in ("transformer.resblocks.0", "transformer.resblocks.1"):
        figures = result[layer]["MassiveActivations"]
        assert (float(figures["count"]), float(figures["images"]), int(figures["n"])) == (1.0, 1.0, 4)
        assert float(figures["largest"]) == pytest.approx(1e4, rel=1e-2)
        assert result.forms[layer].words == "32 features, mean over 17 tokens"
    assert float(result["transformer.resblocks.0"]["ActivationKurtosis"]["mean"]) > 25  # of the mean token: d = 32


def test_an_unpooled_output_that_comes_twice_is_refused():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), relu, nn.Linear(8, 8), relu)
    with pytest.raises(RuntimeError, match="layer '2' fired twice in one forward"):
        measure(model, [IMAGES], {"2": LargestMagnitude()})
    measure(model, [IMAGES, IMAGES], {"2": ActivationKurtosis(), "3": LargestMagnitude()})


def test_forms_are_stated():
    result = measure(net(), batches(), {"head:input": ActivationKurtosis(), "conv": ActivationKurtosis()})
    assert isinstance(result, dict)
    assert {layer: form.words for layer, form in result.forms.items()} == {
        "head:input": "64 features",
        "conv": "64 features, mean over 36 positions",
    }
    tokens = measure(net(), batches(), {"conv": ActivationKurtosis()}, pool="tokens")
    assert tokens.forms["conv"].words == "64 features, each of 36 positions a row"
    assert tokens.forms["conv"].axis == "features"
    maps = net().conv(IMAGES).detach().double()
    rows = torch.stack([image[:, y, x] for image in maps for y in range(6) for x in range(6)])
    want = scipy.stats.kurtosis(rows.numpy(), axis=1, fisher=False).mean()
    assert float(tokens["conv"]["ActivationKurtosis"]["mean"]) == pytest.approx(want, rel=1e-5)


def test_wildcards_copy_their_metrics():
    metric, model = ActivationKurtosis(), net()
    result = measure(model, batches(), {"[cn]o*": metric, "head:input": FeatureSpectrum()})
    assert list(result) == ["conv", "norm", "head:input"]
    alone = measure(model, batches(), {"norm": ActivationKurtosis()})
    assert result["norm"] == alone["norm"]
    assert result["conv"]["ActivationKurtosis"]["mean"] != result["norm"]["ActivationKurtosis"]["mean"]
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(RuntimeError, match="no features"):
        metric.compute()
    both = measure(model, batches(), {"conv": FeatureSpectrum(), "[cn]o*": metric})
    assert [list(group) for group in both.values()] == [
        ["FeatureSpectrum", "ActivationKurtosis"],
        ["ActivationKurtosis"],
    ]
    with pytest.raises(ValueError, match=r"layer 'conv' gets two metrics of one name, the second from 'c\*'"):
        measure(model, batches(), {"conv": metric, "c*": ActivationKurtosis()})


def test_what_a_forward_of_ones_own_returned():
    model = net()
    result = measure(
        model,
        [{"image": IMAGES, "labels": LABELS}],
        {"forward": [ActivationKurtosis(), ConceptAveragePrecision({"neurons": neurons(64)})]},
        forward=lambda m, batch: {"pooler_output": m.norm(m.conv(batch["image"])).mean(dim=(2, 3))},
    )
    by_hook = measure(model, batches(), {"head:input": ActivationKurtosis()})
    got, want = (float(found["ActivationKurtosis"]["mean"]) for found in (result["forward"], by_hook["head:input"]))
    assert got == pytest.approx(want, rel=1e-4)
    assert result.forms["forward"].words == "64 features"
    itself = measure(model, batches(), {"forward": ActivationKurtosis(), "": ActivationKurtosis()})
    assert itself["forward"] == itself[""]


CONCEPTS = {"head:input": ConceptAveragePrecision({"neurons": neurons(64)})}


@pytest.mark.parametrize("form", ["mapping", "other names", "hook"])
def test_labels_of_any_batch(form):
    given, hooks = [{"img": IMAGES, "labels": LABELS}], {}
    if form == "other names":
        given = [{"targets": LABELS, "picture": IMAGES, "path": ["a"] * 20}]
    if form == "hook":
        given = [(IMAGES, ["a"] * 20, {"broden": LABELS})]
        hooks = {"labels_from_batch": lambda batch: batch[2]["broden"]}
    expected = measure(net(), [(IMAGES, LABELS)], CONCEPTS)["head:input"]["ConceptAveragePrecision"]["ap/neurons"]
    got = measure(net(), given, CONCEPTS, **hooks)["head:input"]["ConceptAveragePrecision"]["ap/neurons"]
    assert torch.equal(got, expected)


def test_labels_are_not_for_tokens():
    with pytest.raises(ValueError, match="labels are for images, not for tokens"):
        measure(net(), batches(), CONCEPTS, pool="tokens")


def test_a_forward_that_makes_more_rows_than_images_is_refused():
    def twice(model, batch):
        return model(torch.cat([batch["image"]] * 2))

    with pytest.raises(ValueError, match="layer 'conv' gave 40 rows for 20 images"):
        measure(net(), [{"image": IMAGES}], {"conv": ActivationKurtosis()}, forward=twice)
    crops = {"images_from_batch": lambda batch: torch.cat([batch["image"]] * 2)}
    result = measure(net(), [{"image": IMAGES}], {"conv": ActivationKurtosis()}, forward=twice, **crops)
    assert int(result["conv"]["ActivationKurtosis"]["n"]) == 40


def test_the_given_batches_are_not_changed():
    batch = {"image": IMAGES, "labels": LABELS}
    measure(net(), [batch], CONCEPTS)
    assert batch["image"] is IMAGES
    assert list(batch) == ["image", "labels"]


def test_outputs_are_the_same_bits_as_without_measuring():
    """The fused attention path stays on, since no watched layer lies in what it skips."""
    torch.manual_seed(0)
    tower = VisionTransformer(32, 8, width=32, layers=2, heads=4, mlp_ratio=2.0, output_dim=6).eval()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        expected = tower(images)
    seen = []

    def forward(model, batch):
        seen.append(model(batch))

    measure(tower, [images], {"transformer.resblocks.*": ActivationKurtosis()}, forward=forward)
    assert torch.equal(seen[0], expected)
