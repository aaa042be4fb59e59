"""Attention of low rank against torch's own module with the same matrices."""

import copy

import pytest
import torch
from torch import nn
from truncated import svd_factors, with_products

from lightning_robust.models.low_rank_attention import LowRankAttention, LowRankBlocks
from lightning_robust.models.low_rank_build import factorise
from lightning_robust.models.low_rank_matrices import matrices

N, L, S, D, HEADS = 3, 5, 4, 12, 3


def pair(some=None, share=0.5, **options):
    """A dense attention whose matrices are products, and the same with the factors."""
    torch.manual_seed(0)
    dense = nn.MultiheadAttention(D, HEADS, dtype=torch.float64, **options).eval()
    if dense.in_proj_bias is not None:
        nn.init.normal_(dense.in_proj_bias)
        nn.init.normal_(dense.out_proj.bias)
    chosen = {name: each for name, each in svd_factors(matrices(dense), share).items() if some is None or some in name}
    return with_products(dense, chosen), factorise(dense, chosen)


def same(dense, low, *inputs, **options):
    expected, weights = dense(*inputs, **options)
    given, own = low(*inputs, **options)
    torch.testing.assert_close(given, expected, rtol=1e-10, atol=1e-10)
    assert (weights is None) == (own is None)
    if weights is not None:
        torch.testing.assert_close(own, weights, rtol=1e-10, atol=1e-10)


def tokens(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("some", [None, "[q]", "[v]", "out_proj", "in_proj_weight"])
@pytest.mark.parametrize("bias", [True, False])
def test_matrices_of_low_rank_one_by_one_and_together(some, bias):
    dense, low = pair(some, bias=bias, batch_first=True)
    x = tokens(N, L, D)
    same(dense, low, x, x, x, need_weights=False)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"average_attn_weights": False}, {"need_weights": False}])
def test_order_of_dimensions_and_weights(batch_first, options):
    dense, low = pair(batch_first=batch_first)
    x = tokens(N, L, D) if batch_first else tokens(L, N, D)
    y = tokens(N, S, D) if batch_first else tokens(S, N, D)
    for inputs in ((x, x, x), (x, y, y), (x, y, tokens(*y.shape))):
        same(dense, low, *inputs, **options)
    same(dense, low, tokens(L, D), tokens(S, D), tokens(S, D), **options)  # one sequence, without a batch


def masks():
    causal = torch.ones(L, L).triu(1).bool()
    own = torch.rand(N * HEADS, L, L).double().log()
    padding = torch.zeros(N, L, dtype=torch.bool)
    padding[1, 3:] = padding[2, 1:2] = True
    return {
        "causal": {"attn_mask": causal},
        "causal, and said so": {"attn_mask": causal, "is_causal": True},
        "numbers": {"attn_mask": own[0]},
        "of each head": {"attn_mask": own},
        "of each head, yes or no": {"attn_mask": causal.expand(N * HEADS, L, L)},
        "padding": {"key_padding_mask": padding},
        "padding in numbers": {"key_padding_mask": torch.rand(N, L).double().log()},
        "both": {"attn_mask": causal, "key_padding_mask": padding},
    }


@pytest.mark.parametrize("which", list(masks()))
@pytest.mark.parametrize("need_weights", [True, False])
def test_masks(which, need_weights):
    torch.manual_seed(1)
    options = masks()[which]
    dense, low = pair(batch_first=True)
    x = tokens(N, L, D)
    same(dense, low, x, x, x, need_weights=need_weights, **options)


def test_keys_and_values_of_other_widths():
    dense, low = pair(kdim=7, vdim=8, batch_first=True)
    assert set(matrices(dense)) == {"q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"}
    same(dense, low, tokens(N, L, D), tokens(N, S, 7), tokens(N, S, 8))


def test_a_causal_hint_without_a_mask_is_refused():
    _, low = pair()
    with pytest.raises(ValueError, match="attn_mask belongs beside it"):
        low(*[tokens(L, D)] * 3, is_causal=True)


def test_dropout_in_training_alone():
    _, low = pair(batch_first=True, dropout=0.5)
    x = tokens(N, L, D)
    assert torch.equal(low(x, x, x)[0], low(x, x, x)[0])
    low.train()
    for need_weights in (True, False):
        torch.manual_seed(2)
        drawn = torch.stack([low(x, x, x, need_weights=need_weights)[0].detach() for _ in range(300)])
        assert drawn.std(0).max() > 0.01
        whole = low.eval()(x, x, x)[0].detach()
        low.train()
        torch.testing.assert_close(drawn.mean(0), whole, rtol=0, atol=6 * float(drawn.std(0).max()) / 300**0.5)


def test_gradients_reach_every_factor():
    dense, low = pair(batch_first=True)
    x = tokens(N, L, D)
    for each in (dense.train(), low.train()):
        each(x, x, x, need_weights=False)[0].square().sum().backward()
    A, B = low.in_proj.second_k, low.in_proj.first[6:12]
    W = dense.in_proj_weight.grad[D : 2 * D]
    torch.testing.assert_close(A.grad, W @ B.detach().T)
    torch.testing.assert_close(low.in_proj.first.grad[6:12], A.detach().T @ W)
    torch.testing.assert_close(low.in_proj.bias.grad, dense.in_proj_bias.grad)


def test_in_a_layer_of_torch_that_has_a_fused_path():
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(D, HEADS, 24, batch_first=True, dtype=torch.float64).eval()
    low = factorise(layer, svd_factors(matrices(layer)))
    x = tokens(N, L, D)
    assert isinstance(low.self_attn, LowRankAttention)
    with torch.no_grad():
        torch.testing.assert_close(low(x), layer(x))


def test_blocks_that_do_not_fit_their_bias_are_refused():
    with pytest.raises(ValueError, match=r"4 numbers, so a bias has shape \(4,\), not \(3,\)"):
        LowRankBlocks({"q": torch.eye(2), "k": torch.eye(2)}, torch.zeros(3))


def test_it_compiles_and_copies():
    _, low = pair(batch_first=True)
    x = tokens(N, L, D)
    expected = low(x, x, x, need_weights=False)[0]
    compiled = torch.compile(copy.deepcopy(low), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, x, x, need_weights=False)[0], expected)
