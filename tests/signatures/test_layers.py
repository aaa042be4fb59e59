"""Layer names: outputs, inputs, compiled models, near names."""

import pytest
import torch
from torch import nn

from lightning_robust.signatures.layers import find_layer, plain_name


def model():
    return nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))


def test_names():
    net = model()
    assert find_layer(net, "0.1").module is net[0][1]
    assert find_layer(net, "").module is net
    layer = find_layer(net, "0.0:input")
    assert layer.module is net[0][0]
    assert layer.reads_input
    assert layer.name == "0.0:input"
    assert find_layer(net, ":input").reads_input


def test_a_name_that_ends_like_an_input_is_itself():
    net = nn.Module()
    net.add_module("x:input", nn.Linear(1, 1))
    assert find_layer(net, "x:input") == ("x:input", net.get_submodule("x:input"), False, (net,))


@pytest.mark.parametrize("name", ["0.1", "_orig_mod.0.1", "0._orig_mod.1", ""])
def test_compiled(name):
    inner = model()
    inner[0] = torch.compile(inner[0])
    outer = torch.compile(inner)
    assert find_layer(outer, name).module is (inner if name == "" else inner[0]._orig_mod[1])


def test_shared_modules_go_by_both_names():
    net = nn.Sequential(nn.ReLU())
    net.append(net[0])
    assert find_layer(net, "1").module is net[0]


def test_plain_name():
    assert plain_name("_orig_mod.a._orig_mod.b") == "a.b"


@pytest.mark.parametrize("wrong", ["head.fc", "visual.layer5", "visual.layer5:input", "layr1"])
def test_unknown_names_the_nearest(wrong):
    net = nn.Module()
    net.visual = nn.Module()
    net.visual.layer1, net.visual.layer4, net.fc = nn.ReLU(), nn.ReLU(), nn.ReLU()
    with pytest.raises(ValueError, match=r"Module has no layer .*; near names: .*(visual|fc)") as error:
        find_layer(net, wrong)
    assert repr(wrong) in str(error.value)


def test_unknown_in_a_model_without_layers():
    with pytest.raises(ValueError, match=r"Linear has no layer 'x'\.$"):
        find_layer(nn.Linear(1, 1), "x")
