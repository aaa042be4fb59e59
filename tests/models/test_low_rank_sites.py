"""Where matrices are: parts of an attention that stays dense belong to it, and ties are seen."""

import pytest
import timm
import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import nn

from lightning_robust.models.low_rank_sites import find_sites, joined


def names(model):
    return [name for site in find_sites(model).found for name in site.pieces]


def test_an_attention_that_stays_dense_keeps_its_output_layer():
    # its forward reads out_proj.weight, so that a factored layer there would never be called
    model = nn.ModuleDict({"a": nn.MultiheadAttention(4, 2, add_zero_attn=True), "b": nn.Linear(4, 4)})
    assert names(model) == ["b.weight"]
    assert set(find_sites(model).left) == {"a.in_proj_weight", "a.out_proj.weight"}


def test_a_tie_inside_an_attention_leaves_it_whole():
    model = nn.ModuleDict({"a": nn.MultiheadAttention(4, 2), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)})
    model["b"].weight = model["a"].out_proj.weight
    assert names(model) == ["c.weight"]
    assert all("tied" in reason for reason in find_sites(model).left.values())


def test_a_module_in_two_places_is_tied():
    layer = nn.Linear(4, 4)
    assert names(nn.Sequential(layer, nn.ReLU(), layer)) == []


def test_parts_of_a_pool_and_of_an_attention():
    pool = {"pool": AttentionPool2d(2, 8, 2, 4)}
    site = find_sites(nn.ModuleDict(pool)).found[0]
    assert [(name, piece.part, piece.layer) for name, piece in site.pieces.items()] == [
        ("pool.q_proj.weight", "q", "pool.q_proj"),
        ("pool.k_proj.weight", "k", "pool.k_proj"),
        ("pool.v_proj.weight", "v", "pool.v_proj"),
        ("pool.c_proj.weight", "out", "pool.c_proj"),
    ]
    attention = nn.MultiheadAttention(6, 2)
    pieces = find_sites(attention).found[0].pieces
    assert list(pieces) == ["in_proj_weight[q]", "in_proj_weight[k]", "in_proj_weight[v]", "out_proj.weight"]
    for index, part in enumerate("qkv"):
        rows = slice(6 * index, 6 * index + 6)
        assert torch.equal(pieces[f"in_proj_weight[{part}]"].weight, attention.in_proj_weight[rows])
        assert torch.equal(pieces[f"in_proj_weight[{part}]"].bias, attention.in_proj_bias[rows])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (nn.utils.weight_norm, "weight_v"),
        (nn.utils.parametrizations.spectral_norm, "parametrizations.weight.original"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_weights_that_are_computed_are_left(model, name):
    found = find_sites(model(nn.Linear(4, 4)))
    assert not found.found
    assert found.left[name] == "part of a parametrised weight"


def test_layers_that_do_more_than_multiply_are_left():
    model = timm.create_model("test_nfnet")  # its convolutions standardise their weights
    sites = find_sites(model)
    assert "does more than multiply" in sites.left["stem.conv1.weight"]
    assert [name for site in sites.found for name in site.pieces if "head" in name] == ["head.fc.weight"]


def test_names_below_the_model_itself():
    assert (joined("", "weight"), joined("a.b", "weight")) == ("weight", "a.b.weight")
