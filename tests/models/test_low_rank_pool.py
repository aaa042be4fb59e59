"""open_clip's attention pooling and projection of low rank, with answers from open_clip's own modules."""

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from open_clip.transformer import VisionTransformer
from torch import nn
from truncated import svd_factors, with_products

from lightning_robust.models.low_rank_build import factorise
from lightning_robust.models.low_rank_matrices import matrices
from lightning_robust.models.low_rank_pool import (
    LowRankAttentionPool,
    LowRankVisionTransformer,
    PoolOfOnePlace,
    pools_of_one_place,
    project_by_layer,
    without_attention,
)


def pool():
    torch.manual_seed(0)
    return AttentionPool2d(3, 12, 2, 5).double()


@pytest.mark.parametrize("some", ["", "q_proj", "k_proj", "v_proj", "c_proj"])
def test_the_pooled_vector_and_its_gradients(some):
    dense = pool()
    factors = {name: each for name, each in svd_factors(matrices(dense), 0.5).items() if some in name}
    low, dense = factorise(dense, factors), with_products(dense, factors)
    assert isinstance(low, LowRankAttentionPool)
    one = torch.randn(2, 12, 3, 3, dtype=torch.float64, requires_grad=True)
    other = one.detach().clone().requires_grad_()
    torch.testing.assert_close(low(one), dense(other), rtol=1e-10, atol=1e-10)
    low(one).square().sum().backward()
    dense(other).square().sum().backward()
    torch.testing.assert_close(one.grad, other.grad)
    torch.testing.assert_close(low.positional_embedding.grad, dense.positional_embedding.grad)
    assert all(p.grad is not None for p in low.parameters())


def test_the_projection_is_a_layer_of_the_same_tower():
    model = VisionTransformer(image_size=8, patch_size=4, width=8, layers=1, heads=2, mlp_ratio=2, output_dim=4).eval()
    images = torch.rand(2, 3, 8, 8)
    expected, W = model(images), model.proj.detach().T
    layer = nn.Linear(8, 4, bias=False)
    layer.weight = nn.Parameter(W.clone())
    project_by_layer(model, layer)
    assert isinstance(model, LowRankVisionTransformer)
    torch.testing.assert_close(model(images), expected)
    assert "proj" not in model.state_dict()
    assert "projection.weight" in model.state_dict()


@torch.no_grad()
def test_queries_and_keys_over_one_place_move_each_heads_answer_along_one_line():
    torch.manual_seed(0)
    dense = AttentionPool2d(1, 12, 2, 5).double()
    model = nn.Sequential(dense)
    found = matrices(model, torch.zeros(1, 12, 1, 1, dtype=torch.float64))
    pools = pools_of_one_place(model, {name: one.positions for name, one in found.items()})
    assert pools == [PoolOfOnePlace("0", 2 * (12 * 12 + 12))]
    x = 5 * torch.randn(30, 12, 1, 1, dtype=torch.float64)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    even = without_attention(model, pools)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    first, second = dense.positional_embedding
    mean = x.flatten(1) + (first + second) / 2
    torch.testing.assert_close(even(x), dense.c_proj(dense.v_proj(mean)))
    moved = model(x) - even(x)
    assert moved.norm() > 1e-3 * even(x).norm()
    assert torch.linalg.matrix_rank(moved, rtol=1e-8) <= 2  # heads: one line for each


def test_queries_and_keys_over_more_places_do_something_and_none_are_found():
    dense = pool()
    found = matrices(dense, torch.zeros(1, 12, 3, 3, dtype=torch.float64))
    assert not pools_of_one_place(dense, {name: one.positions for name, one in found.items()})
    assert not pools_of_one_place(nn.Sequential(AttentionPool2d(1, 12, 2, 5)), {})  # no image goes through it
