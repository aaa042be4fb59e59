"""The sketch against the whole spectrum: its bounds hold, and its estimates are as good as it says."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures import matrix_spectrum, sketch_spectrum


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_singular_values(sigma, seed=0, dtype=torch.float32):
    n = len(sigma)
    U, V = (torch.linalg.qr(gaussian(n, n, seed=seed + i).to(dtype))[0] for i in (1, 2))
    return (U * sigma) @ V.T


STEPS = torch.arange(1, 301).float()
MATRICES = {
    "Gaussian, square": gaussian(256, 256),
    "Gaussian, tall": gaussian(600, 150),
    "Gaussian, wide": gaussian(150, 600),
    "heavy tail": torch.distributions.StudentT(2.0).sample((300, 200)) if torch.manual_seed(0) else None,
    "slow decay": with_singular_values(STEPS**-0.5),
    "decay": with_singular_values(STEPS**-1),
    "fast decay": with_singular_values(STEPS**-2),
    "exponential decay": with_singular_values((-STEPS / 40).exp()),
    "low rank": gaussian(300, 12) @ gaussian(12, 300, seed=1),
    "rank one": gaussian(300, 1) @ gaussian(1, 200, seed=1),
    "spikes": gaussian(300, 300) + 20 * gaussian(300, 3, seed=1) @ gaussian(3, 300, seed=2),
    "orthogonal": with_singular_values(torch.ones(300)),
    "two values": torch.diag(torch.cat([torch.full((90,), 3.0), torch.ones(210)])),
    "convolution": gaussian(128, 16, 3, 3),
    "smaller than the sketch": gaussian(40, 300),
    "one row": gaussian(1, 9),
    "float64": gaussian(300, 200).double() * 1e-200,
    "bfloat16": gaussian(300, 200).bfloat16(),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("seed", [0, 1])
def test_errors_are_as_stated(name, seed):
    W = MATRICES[name]
    whole = matrix_spectrum(W)
    sigma, size = whole.singular_values, float(whole.singular_values[0])
    found = sketch_spectrum(W, 10, seed=seed)
    k = min(10, len(sigma))
    assert found.leading.shape == found.residuals.shape == found.upper.shape == (k,)
    nearest = (found.leading[:, None] - sigma).abs().min(1).values
    assert (nearest <= found.residuals).all()
    assert (sigma[:k] <= found.upper).all()
    # the squares are rounded in the precision of the products
    rounding = 1e-12 if W.dtype == torch.float64 or name in ("smaller than the sketch", "one row") else 2e-6
    assert ((found.leading / size) ** 2 <= (sigma[:k] / size) ** 2 + rounding).all()
    assert found.frobenius == pytest.approx(float(torch.linalg.norm(sigma / size)) * size, rel=2e-7)
    assert found.stable_rank == pytest.approx((found.frobenius / float(found.leading[0])) ** 2)
    low, high = found.effective_rank_low, found.effective_rank_high
    assert low * 0.99 <= whole.effective_rank <= high * 1.01
    assert 1 <= low <= found.effective_rank <= high <= min(W.flatten(1).shape)
    assert found.effective_rank == pytest.approx(math.sqrt(low * high))


K = torch.arange(1, 257, dtype=torch.float64)
FAST = {
    "exp(-k/2)": ((-K / 2).exp(), 5.493),
    "2^-k": (2.0**-K, 4.0),
    "k^-3": (K**-3, 1.971),
    "k^-4": (K**-4, 1.396),
    "k^-6": (K**-6, 1.097),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FAST)
def test_the_interval_holds_the_effective_rank_of_spectra_that_decay_fast(name, dtype):
    sigma, known = FAST[name]
    W = with_singular_values(sigma, dtype=torch.float64).to(dtype)
    true = matrix_spectrum(W).effective_rank
    assert true == pytest.approx(known, abs=1e-3)
    for seed in range(10):
        found = sketch_spectrum(W, 10, seed=seed)
        assert found.effective_rank_low <= true <= found.effective_rank_high
        assert found.effective_rank_high / found.effective_rank_low < 1.06  # and says something
        assert found.effective_rank == pytest.approx(true, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_that_rounding_finds_twice_do_not_pass_for_all_of_them(dtype):
    sigma = torch.where(K <= 64, 1.0, 1e-3).double()
    W = with_singular_values(sigma, dtype=torch.float64).to(dtype)
    true = matrix_spectrum(W).effective_rank
    for seed in range(10):
        found = sketch_spectrum(W, 10, seed=seed)
        assert found.effective_rank_low * 0.95 <= true <= found.effective_rank_high * 1.05


def test_residuals_are_small_where_values_stand_apart():
    found = sketch_spectrum(MATRICES["fast decay"], 5)
    assert (found.residuals[:3] < 1e-3 * found.leading[0]).all()
    np.testing.assert_allclose(found.leading, [1, 1 / 4, 1 / 9, 1 / 16, 1 / 25], rtol=1e-4)


@pytest.mark.parametrize("name", ["smaller than the sketch", "low rank", "orthogonal", "two values"])
def test_what_the_sketch_sees_whole_has_no_error(name):
    whole, found = matrix_spectrum(MATRICES[name]), sketch_spectrum(MATRICES[name])
    assert found.effective_rank == pytest.approx(whole.effective_rank, rel=0.02)
    np.testing.assert_allclose(found.leading, whole.singular_values[: len(found.leading)], rtol=1e-4)
    assert (found.residuals <= 1e-4 * found.leading[0]).all()


def test_more_steps_and_more_vectors_are_better():
    W = MATRICES["decay"]
    true = matrix_spectrum(W)

    def errors(**options):
        found = sketch_spectrum(W, 10, **options)
        width = found.effective_rank_high / found.effective_rank_low
        return width, float((true.singular_values[:10] - found.leading).abs().max())

    coarse, deep, broad = errors(steps=2), errors(steps=6), errors(steps=2, block=48)
    assert deep[0] < coarse[0]
    assert broad[0] < coarse[0]
    assert max(deep[1], broad[1]) < coarse[1]


@settings(max_examples=15, derandomize=True, deadline=None)
@given(st.integers(70, 120), st.integers(70, 120), st.integers(0, 50))
def test_transpose_scale_and_seed(out, inp, seed):
    W = gaussian(out, inp, seed=seed).double()
    found, again, scaled = sketch_spectrum(W, 3), sketch_spectrum(W, 3), sketch_spectrum(W * 1e-3, 3)
    assert torch.equal(found.leading, again.leading)
    assert found.effective_rank == again.effective_rank
    assert scaled.effective_rank == pytest.approx(found.effective_rank, rel=1e-6)
    torch.testing.assert_close(scaled.leading, found.leading * 1e-3)
    if out != inp:  # a square one is sketched from its other side
        turned = sketch_spectrum(W.T, 3)
        torch.testing.assert_close(turned.leading, found.leading)


def test_no_global_random_state_is_touched():
    state = torch.get_rng_state()
    one, other = sketch_spectrum(gaussian(200, 200), seed=0), sketch_spectrum(gaussian(200, 200), seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(one.leading, other.leading)


def test_zero_and_refusals():
    zero = sketch_spectrum(torch.zeros(80, 90), 4)
    assert zero.leading.tolist() == zero.upper.tolist() == [0.0] * 4
    assert zero.frobenius == 0
    assert all(math.isnan(x) for x in (zero.stable_rank, zero.effective_rank, zero.effective_rank_low))
    with pytest.raises(ValueError, match=r"not \(5,\)"):
        sketch_spectrum(torch.zeros(5))
    with pytest.raises(TypeError, match="a weight is a torch tensor, not ndarray"):
        inspect.unwrap(sketch_spectrum)(np.ones((3, 3)))
    with pytest.raises(ValueError, match="not finite"):
        sketch_spectrum(torch.tensor([[1.0, math.inf]]))
    for wrong in ({"k": 0}, {"k": 49}, {"block": 0}, {"steps": 1}):
        with pytest.raises(ValueError, match="needs block ≥ 1, steps ≥ 2 and k in 1"):
            sketch_spectrum(torch.ones(3, 3), **wrong)
