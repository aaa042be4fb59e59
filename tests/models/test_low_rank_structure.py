"""The structure of a factored network, made again from ranks."""

import pytest
import torch
from torch import nn
from truncated import svd_factors

from lightning_robust.models import load_encoder
from lightning_robust.models.low_rank_build import factorise
from lightning_robust.models.low_rank_matrices import matrices
from lightning_robust.models.low_rank_structure import ranks_of, restructured


def test_ranks_of_a_dense_network_are_none(tiny):
    assert ranks_of(tiny.model) == {}


def test_dense_parts_of_an_attention_are_listed_with_it():
    model = nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2), "mlp": nn.Linear(4, 4), "qkv": nn.Linear(4, 12)})
    factors = svd_factors(matrices(model), 0.5)
    low = factorise(model, {name: factors[name] for name in ("attn.in_proj_weight[k]", "qkv.weight[v]")})
    assert ranks_of(low) == {
        "attn.in_proj_weight[q]": None, "attn.in_proj_weight[k]": 2, "attn.in_proj_weight[v]": None,
        "attn.out_proj.weight": None, "qkv.weight[q]": None, "qkv.weight[k]": None, "qkv.weight[v]": 2,
    }  # fmt: skip


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_structure_takes_the_state(step):
    model = load_encoder("scenes-clip").model.visual
    found = matrices(model)
    factors = dict(list(svd_factors(found, 0.3).items())[::step])
    biases = {name: torch.ones(found[name].rows) for name in list(found)[::4]}  # convolutions have none
    low = factorise(model, factors, biases)
    dense = load_encoder("scenes-clip", pretrained=False).model.visual
    again = restructured(dense, ranks_of(low), set(low.state_dict()))
    again.load_state_dict(low.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.eval()(images), low.eval()(images))
    assert ranks_of(again) == ranks_of(low)


@pytest.mark.parametrize(
    ("ranks", "sentence"),
    [
        ({"0.weigth": 1}, "no matrix '0.weigth'; near names: '0.weight'"),
        ({"0.weight": 0}, "rank of 0.weight is to be 1 or more, not 0"),
        ({"0.weight": True}, "not True"),
        ({"0.weight": 1.5}, "not 1.5"),
    ],
)
def test_ranks_that_are_none_are_refused(ranks, sentence):
    with pytest.raises(ValueError, match=sentence):
        restructured(nn.Sequential(nn.Linear(3, 2)), ranks, set())
