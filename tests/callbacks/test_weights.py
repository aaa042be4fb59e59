"""Weights that are followed: names and wildcards, change since the start, nothing computed twice, resuming."""

import math

import numpy as np
import pytest
import torch
from callback_cases import LAYER, REFERENCE, TRAIN, Noisy, Ours, loader, trainer
from torch import nn

from lightning_robust.callbacks import KurtosisMonitor, SpectrumMonitor
from lightning_robust.callbacks.spectrum import SpectrumSignature
from lightning_robust.callbacks.weights import FollowedWeights
from lightning_robust.errors import UserError
from lightning_robust.signatures import matrix_spectrum

PLAIN = {"stable_rank", "effective_rank", "alpha"}
CHANGE = {
    f"change_{name}"
    for name in (
        "relative_frobenius", "relative_spectral", "input_share", "output_share", "stable_rank", "effective_rank"
    )
}  # fmt: skip


def tags(reading, name):
    return {tag.removeprefix(f"weights/{name}/") for tag in reading.scalars if tag.startswith(f"weights/{name}/")}


def move(module, name, by=0.1):
    with torch.no_grad():
        module.get_parameter(name).add_(by)


def attentive():
    torch.manual_seed(0)
    return nn.ModuleDict({"a": nn.MultiheadAttention(8, 2), "b": nn.Linear(8, 3), "c": nn.Conv1d(4, 4, 3, groups=2)})


def test_without_a_beginning_weights_are_measured_as_they_are():
    module = Ours()
    signature = SpectrumSignature(None, ["fc.weight"])
    signature.check(module)
    reading = signature.read_weights(module)
    expected = matrix_spectrum(module.fc.weight)
    assert {f"weights/fc.weight/{name}" for name in PLAIN} == set(reading.scalars)
    assert reading.scalars["weights/fc.weight/stable_rank"] == expected.stable_rank
    assert reading.curves == {"weights/fc.weight/singular_values": expected.singular_values.tolist()}
    assert SpectrumSignature().read_weights(module).scalars == {}


def test_change_since_the_beginning():
    module, followed = Ours(), FollowedWeights(["fc.weight", "stem.weight"])
    followed.begin(module)
    before = module.fc.weight.detach().double().clone()
    first = followed.read(module)
    assert tags(first, "fc.weight") == tags(first, "stem.weight") == PLAIN | CHANGE
    assert first.scalars["weights/fc.weight/change_relative_frobenius"] == 0
    assert math.isnan(first.scalars["weights/fc.weight/change_stable_rank"])
    move(module, "fc.weight")
    move(module, "fc.weight")
    reading = followed.read(module)
    delta = module.fc.weight.detach().double() - before
    ratio = float(torch.linalg.norm(delta) / torch.linalg.norm(before))
    assert reading.scalars["weights/fc.weight/change_relative_frobenius"] == pytest.approx(ratio)
    assert reading.scalars["weights/fc.weight/change_effective_rank"] == pytest.approx(1, abs=1e-4)
    assert reading.scalars["weights/stem.weight/change_relative_frobenius"] == 0
    curve = reading.curves["weights/fc.weight/change_singular_values"]
    np.testing.assert_allclose(curve, torch.linalg.svdvals(delta), atol=1e-12)


def test_what_stands_still_is_not_decomposed_again(monkeypatch):
    module, followed = Ours(), FollowedWeights(["all"])
    followed.begin(module)
    followed.read(module)
    seen = []
    for name in ("svdvals", "eigvalsh", "eigh"):
        original = getattr(torch.linalg, name)
        monkeypatch.setattr(torch.linalg, name, lambda A, original=original: (seen.append(A.shape), original(A))[1])
    followed.read(module)
    assert seen == []
    move(module, "fc.weight")
    followed.read(module)
    assert {tuple(sorted(shape)) for shape in seen} == {(5, 5), (5, 40)}  # the head alone, and its Gram matrix


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["all"],
            ["a.in_proj_weight[q]", "a.in_proj_weight[k]", "a.in_proj_weight[v]", "a.out_proj.weight", "b.weight"],
        ),
        (["a.*"], ["a.in_proj_weight[q]", "a.in_proj_weight[k]", "a.in_proj_weight[v]", "a.out_proj.weight"]),
        (["b.weight", "*[v]"], ["a.in_proj_weight[v]", "b.weight"]),
        (["a.in_proj_weight"], ["a.in_proj_weight[q]", "a.in_proj_weight[k]", "a.in_proj_weight[v]"]),
        (["a.in_proj_weight[k]"], ["a.in_proj_weight[k]"]),
    ],
)
def test_wildcards(names, expected):
    module, followed = attentive(), FollowedWeights(names)
    followed.begin(module)
    move(module, "a.in_proj_weight")
    reading = followed.read(module)
    assert list(dict.fromkeys(tag.split("/")[1] for tag in reading.scalars)) == expected
    assert list(followed.theta0) == expected
    # curves of those named in full, a fused weight's parts included
    full = [name for name in expected if {name, name.partition("[")[0]} & set(names)]
    assert {tag.split("/")[1] for tag in reading.curves} == set(full)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("b.wait", r"has no matrix 'b\.wait'; near names: .*b\.weight"),
        ("d.*", r"has no matrix 'd\.\*'"),
        ("b.bias", r"has no matrix 'b\.bias'"),
        ("c.weight", r"c\.weight is the weight of a grouped convolution"),
        ("c.*", r"c\.weight is the weight of a grouped convolution"),
    ],
)
def test_names_are_refused_before_anything_is_run(name, message):
    with pytest.raises(UserError, match=message):
        SpectrumSignature(None, ["b.weight", name]).check(attentive())
    with pytest.raises(UserError, match=message):
        FollowedWeights([name]).begin(attentive())


def test_theta0_goes_through_a_checkpoint(tmp_path):
    module, followed = Ours(), FollowedWeights(["fc.weight", "stem.*"])
    followed.begin(module)
    move(module, "fc.weight")
    move(module, "stem.weight", 0.3)
    torch.save({"weights": followed.state_dict()}, tmp_path / "a.ckpt")
    again = FollowedWeights(["fc.weight", "stem.*"])
    again.load_state_dict(torch.load(tmp_path / "a.ckpt", weights_only=True)["weights"])
    resumed = Ours()
    resumed.load_state_dict(module.state_dict())
    again.begin(resumed)
    np.testing.assert_equal(again.read(resumed).scalars, followed.read(module).scalars)
    assert again.read(resumed).scalars["weights/fc.weight/change_relative_frobenius"] > 0
    again.reset()
    again.begin(resumed)
    assert again.read(resumed).scalars["weights/fc.weight/change_relative_frobenius"] == 0


def test_theta0_is_a_copy_of_the_followed_weights_alone():
    module, followed = Ours(), FollowedWeights(["fc.weight"])
    followed.begin(module)
    before = module.fc.weight.detach().clone()
    move(module, "fc.weight")
    assert list(followed.theta0) == ["fc.weight"]
    assert torch.equal(followed.theta0["fc.weight"], before)
    assert FollowedWeights().state_dict() == {}


def test_a_control_has_no_change():
    module, followed = Ours(), FollowedWeights(["fc.weight"])
    followed.begin(module)
    assert tags(followed.read(Ours(seed=9)), "fc.weight") == PLAIN
    assert tags(followed.read(module), "fc.weight") == PLAIN | CHANGE


def test_weights_that_are_not_finite_are_named_once_and_nan():
    module, followed = Ours(), FollowedWeights(["fc.weight", "stem.weight"])
    followed.begin(module)
    move(module, "fc.weight", math.inf)
    with pytest.warns(UserWarning, match=r"NaN or infinite values.*: fc\.weight$"):
        reading = followed.read(module)
    assert math.isnan(reading.scalars["weights/fc.weight/stable_rank"])
    assert math.isnan(reading.scalars["weights/fc.weight/change_relative_frobenius"])
    assert not math.isnan(reading.scalars["weights/stem.weight/stable_rank"])
    followed.read(module)  # a second warning would be an error here


def test_a_monitor_that_shares_anothers_pass_follows_from_the_beginning(tmp_path):
    first, second = KurtosisMonitor(layers=[LAYER]), SpectrumMonitor(layers=[LAYER], head="fc", weights=["fc.weight"])
    trainer(tmp_path, callbacks=[first, second], max_epochs=1).fit(Noisy(), loader(TRAIN, 32), loader(REFERENCE, 40))
    changes = [entry["scalars"]["weights/fc.weight/change_relative_frobenius"] for entry in second.history]
    assert changes[0] == 0
    assert changes[1] > 0
