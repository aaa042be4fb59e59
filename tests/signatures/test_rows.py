"""Rows in float64: pieces, centring, unit norm."""

import math

import numpy as np
import pytest
import torch

from lightning_robust.signatures.rows import (
    PIECE_ELEMENTS,
    checked_features,
    finite_rows,
    float64_pieces,
    rescaled,
    squared_deviations,
    unit_rows,
)


@pytest.mark.parametrize("shape", [(1000, 300), (3, 2 * PIECE_ELEMENTS), (0, 4)])
def test_pieces_are_all_the_rows_once(shape):
    h = torch.arange(shape[0] * shape[1], dtype=torch.float32).reshape(shape)
    pieces = list(float64_pieces(h))
    assert torch.equal(torch.cat(pieces), h.double())
    assert all(piece.dtype == torch.float64 and piece.numel() <= max(PIECE_ELEMENTS, shape[1]) for piece in pieces)


def test_centring_survives_a_large_mean():
    z = torch.randn(4, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    far = z + 2.0**40
    exact = far - 2.0**40
    squares, variance = squared_deviations(far)
    want = exact - exact.mean(dim=1, keepdim=True)
    torch.testing.assert_close(squares.sqrt(), want.abs(), rtol=0, atol=2.0**-12)
    torch.testing.assert_close(variance, exact.var(dim=1, correction=0), rtol=1e-6, atol=0)


def test_unit_rows():
    h = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    assert unit_rows(h).tolist() == [[0.6, 0.8], [0.0, 0.0]]


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-150, 1.0, 1e150, 1e200, 1e307])
def test_unit_rows_of_any_scale(scale):
    z = torch.randn(5, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    h = z * scale
    h[2] = 0
    h[4] = z[4]  # beside rows of another scale
    unit = unit_rows(h)
    want = z / z.norm(dim=1, keepdim=True)
    want[2] = 0
    torch.testing.assert_close(unit, want, rtol=1e-2 if scale < 1e-310 else 1e-14, atol=0.02 if scale < 1e-310 else 0)


def test_rescaled_rows_are_the_same_but_for_a_power_of_two():
    h = torch.tensor([[3e300, -1.0], [5e-324, 0.0], [0.0, 0.0], [0.75, 0.1], [1.7e308, -1.7e308]], dtype=torch.float64)
    got = rescaled(h)
    largest = got.abs().amax(dim=1)
    assert largest[[0, 1, 3, 4]].tolist() == [math.frexp(x)[0] for x in (3e300, 5e-324, 0.75, 1.7e308)]
    assert not got[2].any()
    assert torch.equal(got[3], h[3])
    assert float(got[0, 0]) * 2.0 ** math.frexp(3e300)[1] == 3e300


def test_refusals():
    with pytest.raises(TypeError, match=r"torch tensor, not ndarray: torch\.from_numpy"):
        checked_features(np.ones((2, 2)))
    with pytest.raises(TypeError, match=r"floating point, not torch\.int64"):
        checked_features(torch.ones(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(n, d\).*not \(2, 3, 4\)"):
        checked_features(torch.ones(2, 3, 4))
    with pytest.raises(ValueError, match="d >= 1"):
        checked_features(torch.ones(2, 0))


def test_finite_rows_are_the_features_themselves():
    h = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    kept, mask = finite_rows(h)
    assert kept is h
    assert mask.tolist() == [True, True]
    assert finite_rows(h[:0])[1].shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rows_that_are_not_finite_are_left_out(dtype):
    h = torch.ones(5, 3, dtype=dtype)
    h[1, 0], h[2, 2], h[3, 1] = float("nan"), float("inf"), -float("inf")
    kept, mask = finite_rows(h)
    assert mask.tolist() == [True, False, False, False, True]
    assert torch.equal(kept, h[[0, 4]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_sum_that_overflows_is_not_a_value_that_is_not_finite(dtype):
    h = torch.full((4, 3), torch.finfo(dtype).max, dtype=dtype)
    kept, mask = finite_rows(h)
    assert mask.all()
    assert torch.equal(kept, h)
