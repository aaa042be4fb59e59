"""Magnitude pruning against a threshold by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from lightning_robust.models.magnitude_pruning import magnitude_pruned


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 6), nn.MultiheadAttention(6, 2))


NAMES = ["0.weight", "2.weight", "3.in_proj_weight"]


@pytest.mark.parametrize("kept", [0, 1, 57, 239])
def test_the_largest_of_all_layers_stay(kept):
    model = network()
    before = copy.deepcopy(model.state_dict())
    pruned = magnitude_pruned(model, NAMES, kept)
    magnitudes = np.sort(np.concatenate([before[name].abs().flatten().numpy() for name in NAMES]))[::-1]
    threshold = magnitudes[kept - 1] if kept else np.inf
    assert len(magnitudes) == 240
    for name, value in pruned.state_dict().items():
        stays = (before[name].abs() >= threshold) if name in NAMES else torch.ones_like(value, dtype=torch.bool)
        assert torch.equal(value, torch.where(stays, before[name], 0.0)), name
    assert sum(int(torch.count_nonzero(pruned.get_parameter(name))) for name in NAMES) == kept
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kept", [1, 57, 239])
def test_it_is_what_torch_prunes(kept):
    ours, theirs = magnitude_pruned(network(), NAMES, kept), network()
    places = [(theirs.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in NAMES]
    prune.global_unstructured(places, pruning_method=prune.L1Unstructured, amount=240 - kept)
    for (module, attribute), name in zip(places, NAMES, strict=True):
        assert torch.equal(getattr(module, attribute), ours.get_parameter(name))


@pytest.mark.parametrize("kept", [0, 5, 8, 12])
def test_of_equal_weights_the_first_stay(kept):
    layers = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2, bias=False))
    nn.init.ones_(layers[0].weight)
    nn.init.constant_(layers[1].weight, -1.0)
    pruned = magnitude_pruned(layers, ["0.weight", "1.weight"], kept)
    stays = torch.cat([pruned[0].weight.flatten(), pruned[1].weight.flatten()]).abs()
    assert stays.tolist() == [1.0] * kept + [0.0] * (12 - kept)


def test_all_kept_is_a_copy():
    model = network()
    pruned = magnitude_pruned(model, NAMES, 240)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in pruned.state_dict().items())
    assert pruned is not model
    assert pruned[0].weight is not model[0].weight


def test_the_copy_is_an_ordinary_network():
    model = network()
    model[2].weight.requires_grad_(False)
    pruned = magnitude_pruned(model, NAMES, 100)
    assert set(pruned.state_dict()) == set(model.state_dict())
    trained = {name: parameter.requires_grad for name, parameter in pruned.named_parameters()}
    assert trained == {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert not any(module._forward_pre_hooks for module in pruned.modules())
    copy.deepcopy(pruned)


@pytest.mark.parametrize(
    ("names", "kept", "said"),
    [(["9.weight"], 1, "no parameter '9.weight'"), (NAMES, 241, "from 0 to 240"), (NAMES, -1, "from 0 to 240"),
     (["0.weight", "0.weight"], 1, "twice")],
)  # fmt: skip
def test_refusals(names, kept, said):
    with pytest.raises(ValueError, match=said):
        magnitude_pruned(network(), names, kept)
