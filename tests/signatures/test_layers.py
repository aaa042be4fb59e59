"""Layer names: outputs, inputs, compiled models, near names."""

import pytest
import torch
from torch import nn

from lightning_robust.signatures.layers import RETURNED, expand_layers, find_layer, plain_name


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


def tower():
    net = nn.Module()
    net.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(11)))
    net.head = nn.Linear(2, 2)
    return net


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (["blocks.*"], [f"blocks.{k}" for k in range(11)]),  # in the order of the model, not of the alphabet
        (["blocks.?"], [f"blocks.{k}" for k in range(10)]),
        (["blocks.1*.0"], ["blocks.1.0", "blocks.10.0"]),
        (["blocks.[02]"], ["blocks.0", "blocks.2"]),
        (["blocks.[!1-9]*:input"], ["blocks.0:input"]),
        (["*"], ["blocks", "head"]),
        (["head", "blocks.2", "blocks.[1-3]"], ["head", "blocks.2", "blocks.1", "blocks.3"]),
        (["*", "head"], ["blocks", "head"]),
        (["", ":input", RETURNED], ["", ":input", RETURNED]),
        ([], []),
    ],
)
def test_wildcards(layers, expected):
    assert expand_layers(tower(), layers) == tuple(expected)


def test_wildcards_in_compiled_models():
    model = torch.compile(tower())
    assert expand_layers(model, ["blocks.1?"]) == ("blocks.10",)
    assert expand_layers(model, ["_orig_mod.blocks.1?"]) == ("blocks.10",)


def test_a_name_with_a_wildcard_in_it_is_itself():
    net = nn.Module()
    for name in ("a*", "ab"):
        net.add_module(name, nn.ReLU())
    assert expand_layers(net, ["a*", "a?:input"]) == ("a*", "a*:input", "ab:input")
    assert expand_layers(net, ["a*:input"]) == ("a*:input",)


def test_a_pattern_without_a_match_names_the_nearest():
    with pytest.raises(ValueError, match=r"Module has no layer that matches 'block\.\*'; near names: blocks"):
        expand_layers(tower(), ["block.*"])


@pytest.mark.parametrize("layers", ["head", ["head", "head"], ["*", "*"]])
def test_layers_are_a_list_of_different_names(layers):
    with pytest.raises(ValueError, match="different names"):
        expand_layers(tower(), layers)


def test_what_the_forward_returned_is_a_layer():
    net = tower()
    assert find_layer(net, RETURNED) == (RETURNED, net, False, ())
    with pytest.raises(KeyError):  # so that no submodule can be meant
        net.add_module(RETURNED, nn.ReLU())


def test_ancestors():
    net = tower()
    assert find_layer(net, "blocks.3.1:input").ancestors == (net, net.blocks, net.blocks[3])
    compiled = torch.compile(net)
    assert find_layer(compiled, "blocks.3").ancestors == (net, net.blocks)
    assert find_layer(net, "").ancestors == ()
