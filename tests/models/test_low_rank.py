"""Layers of low rank: what the product of their factors gives, computed at once."""

import copy

import pytest
import torch
from torch import nn

from lightning_robust.models.low_rank import LowRankConv2d, LowRankLinear


def factors(rows, columns, k, dtype=torch.float64, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(rows, k, generator=drawn, dtype=dtype), torch.randn(k, columns, generator=drawn, dtype=dtype)


@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5, 7), (2, 3, 5, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_multiplies_by_the_product(shape, bias):
    A, B = factors(4, 7, 2)
    b = torch.randn(4, dtype=torch.float64) if bias else None
    x = torch.randn(shape, dtype=torch.float64)
    expected = x @ (A @ B).T + (0 if b is None else b)
    torch.testing.assert_close(LowRankLinear(A, B, b)(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "stride": 2},
        {"kernel_size": (3, 1), "padding": "same"},
        {"kernel_size": 3, "padding": (2, 1), "padding_mode": "circular"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect", "stride": (2, 1)},
        {"kernel_size": 4, "stride": 4},
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_convolves_with_the_product(options, bias):
    dense = nn.Conv2d(3, 6, bias=bias, dtype=torch.float64, **options)
    A, B = factors(6, dense.weight[0].numel(), 2)
    low = LowRankConv2d(A, B, dense, dense.bias)
    with torch.no_grad():
        dense.weight.copy_((A @ B).view_as(dense.weight))
    images = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(low(images), dense(images), rtol=1e-12, atol=1e-12)
    assert low.rank == 2


def test_channels_last_stays():
    dense = nn.Conv2d(4, 8, 3, padding=1)
    low = LowRankConv2d(*factors(8, 36, 3, torch.float32), dense, dense.bias).to(memory_format=torch.channels_last)
    images = torch.randn(2, 4, 5, 5)
    given = low(images.to(memory_format=torch.channels_last))
    assert given.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(given, low(images))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_precision_and_copies(dtype):
    low = LowRankLinear(*factors(4, 7, 2, torch.float32), torch.zeros(4))
    x = torch.randn(3, 7)
    narrow = copy.deepcopy(low).to(dtype)
    assert narrow.weight.dtype == narrow(x.to(dtype)).dtype == dtype  # models ask a layer's weight for its precision
    torch.testing.assert_close(narrow(x.to(dtype)).float(), low(x), rtol=0.05, atol=0.1)
    assert list(low.state_dict()) == ["first", "second", "bias"]
    assert low.first.dtype == torch.float32


def test_factors_have_the_gradients_of_the_product():
    A, B = factors(4, 7, 2)
    low, x = LowRankLinear(A, B), torch.randn(5, 7, dtype=torch.float64)
    W = (A @ B).requires_grad_()
    (x @ W.T).square().sum().backward()
    low(x).square().sum().backward()
    torch.testing.assert_close(low.second.grad, W.grad @ B.T)
    torch.testing.assert_close(low.first.grad, A.T @ W.grad)


@pytest.mark.parametrize(
    ("A", "B", "bias"),
    [((4, 2), (3, 7), None), ((4, 0), (0, 7), None), ((4,), (4, 7), None), ((4, 2), (2, 7), (5,))],
)
def test_factors_that_do_not_fit_are_refused(A, B, bias):
    with pytest.raises(ValueError, match=r"factors are A \(out, k\) and B \(k, in\)"):
        LowRankLinear(torch.ones(A), torch.ones(B), None if bias is None else torch.ones(bias))


def test_a_grouped_convolution_is_refused():
    with pytest.raises(ValueError, match="2 groups"):
        LowRankConv2d(*factors(4, 18, 2, torch.float32), nn.Conv2d(4, 4, 3, groups=2))
