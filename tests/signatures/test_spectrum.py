"""Weight spectra against numpy, and the power law against scipy's Kolmogorov-Smirnov test."""

import inspect
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures import matrix_spectrum, power_law_alpha


def reference_alpha(values, min_tail=10):
    best = (math.inf, math.nan)
    for low in sorted(set(values)):
        tail = [v for v in values if v >= low]
        total = sum(math.log(v / low) for v in tail)
        if len(tail) < min_tail or total == 0:
            continue
        alpha = 1 + len(tail) / total
        distance = scipy.stats.kstest(tail, scipy.stats.pareto(alpha - 1, scale=low).cdf).statistic
        best = min(best, (distance, alpha))
    return best[1]


def loop_alpha(values, min_tail=10):
    """A tail at a time, with numpy: what the blocks of tails have to equal."""
    values = np.sort(values)
    best = (math.inf, math.nan)
    for start in range(len(values) - min_tail + 1):
        tail = np.log(values[start:] / values[start])
        if (start and values[start] == values[start - 1]) or tail.sum() == 0:
            continue
        m, exponent = len(tail), len(tail) / tail.sum()
        fit = 1 - np.exp(-exponent * tail)
        # the distribution steps at each distinct value, from the share below it to the share up to it
        below = np.searchsorted(tail, tail, side="left") / m
        upto = np.searchsorted(tail, tail, side="right") / m
        best = min(best, (max((fit - below).max(), (upto - fit).max()), 1 + exponent))
    return best[1]


@pytest.mark.parametrize("shape", [(5, 7), (30, 30), (64, 20), (8, 3, 3, 3), (1, 5), (4, 6, 3)])
def test_equals_numpy(shape):
    weight = np.random.default_rng(0).normal(size=shape)
    spectrum = matrix_spectrum(torch.from_numpy(weight))
    flat = weight.reshape(shape[0], -1)
    sigma = np.linalg.svd(flat, compute_uv=False)
    np.testing.assert_allclose(spectrum.singular_values, sigma, rtol=1e-10)
    assert spectrum.stable_rank == pytest.approx(np.linalg.norm(flat) ** 2 / np.linalg.norm(flat, 2) ** 2, rel=1e-10)
    p = sigma / sigma.sum()
    assert spectrum.effective_rank == pytest.approx(math.exp(scipy.stats.entropy(p)), rel=1e-10)
    if len(sigma) < 10:
        assert math.isnan(spectrum.alpha)
    else:
        assert spectrum.alpha == pytest.approx(reference_alpha(list(sigma**2)), rel=1e-9)


def test_known_answers():
    identity = matrix_spectrum(torch.eye(6))
    assert (identity.stable_rank, identity.effective_rank) == (pytest.approx(6), pytest.approx(6))
    rank_one = matrix_spectrum(torch.ones(4, 5))
    assert (rank_one.stable_rank, rank_one.effective_rank) == (pytest.approx(1), pytest.approx(1))


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e150])
def test_ranks_and_alpha_do_not_depend_on_the_scale(scale):
    weight = torch.randn(20, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    base, scaled = matrix_spectrum(weight), matrix_spectrum(weight * scale)
    for name in ("stable_rank", "effective_rank", "alpha"):
        assert getattr(scaled, name) == pytest.approx(getattr(base, name), rel=1e-9)


def test_null_space_is_no_part_of_the_tail():
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(40, 15, dtype=torch.float64, generator=generator)
    spectrum = matrix_spectrum(A @ A.T)
    assert spectrum.alpha == pytest.approx(reference_alpha(list(spectrum.singular_values.numpy()[:15] ** 2)), rel=1e-6)


def test_half_precision_is_computed_in_float64():
    weight = torch.randn(12, 12, generator=torch.Generator().manual_seed(0)).bfloat16()
    sigma = np.linalg.svd(weight.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(matrix_spectrum(weight).singular_values, sigma, rtol=1e-10)


@settings(max_examples=20, derandomize=True)
@given(st.lists(st.integers(1, 30), min_size=10, max_size=25))
def test_alpha_equals_the_reference_with_ties(values):
    got, want = power_law_alpha(torch.tensor(values, dtype=torch.float64)), reference_alpha(values)
    assert (math.isnan(got) and math.isnan(want)) or got == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("alpha", [1.8, 3.0])
def test_recovers_a_power_law(alpha):
    values = scipy.stats.pareto(alpha - 1).rvs(1500, random_state=np.random.default_rng(0))
    assert power_law_alpha(torch.from_numpy(values)) == pytest.approx(alpha, rel=0.1)


def test_nothing_to_fit():
    assert math.isnan(power_law_alpha(torch.rand(9, dtype=torch.float64) + 1))
    assert math.isnan(power_law_alpha(torch.full((20,), 3.0, dtype=torch.float64)))
    assert math.isnan(power_law_alpha(torch.zeros(0, dtype=torch.float64)))


def test_zero_matrix_has_no_ranks():
    spectrum = matrix_spectrum(torch.zeros(3, 4))
    assert math.isnan(spectrum.stable_rank)
    assert math.isnan(spectrum.effective_rank)
    assert math.isnan(spectrum.alpha)


@pytest.mark.parametrize("k", [10, 31, 32, 33, 41, 42, 43, 300, 768])
@pytest.mark.parametrize("kind", ["heavy tail", "Gaussian matrix", "ties"])
def test_alpha_equals_a_loop_over_tails(k, kind):
    rng = np.random.default_rng(k)
    values = {
        "heavy tail": lambda: scipy.stats.pareto(0.9).rvs(k, random_state=rng),
        "Gaussian matrix": lambda: np.linalg.svd(rng.normal(size=(k, k + 9)), compute_uv=False) ** 2,
        "ties": lambda: np.ceil(scipy.stats.pareto(0.9).rvs(k, random_state=rng)),
    }[kind]()
    assert power_law_alpha(torch.from_numpy(values)) == pytest.approx(loop_alpha(values), rel=1e-12, nan_ok=True)


@settings(max_examples=40, derandomize=True)
@given(st.lists(st.floats(1e-3, 1e3), min_size=10, max_size=80), st.floats(1e-6, 1e6))
def test_alpha_is_above_one_and_free_of_scale(values, scale):
    values = torch.tensor(values, dtype=torch.float64)
    alpha = power_law_alpha(values)
    assert math.isnan(alpha) or alpha > 1
    # a tie or a draw between two tails may be broken by rounding: compare where the values are told apart
    if len(set(values.tolist())) == len(values):
        distances = loop_alpha(values.numpy() * scale)
        assert power_law_alpha(values * scale) == pytest.approx(distances, rel=1e-6, nan_ok=True)


def rotation(n, seed):
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]


SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 90))


@pytest.mark.parametrize("method", ["exact", "gram", "auto"])
@settings(max_examples=15, derandomize=True, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 99), scale=st.floats(1e-3, 1e3))
def test_scale_transpose_and_rotation(method, shape, seed, scale):
    W = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    base = matrix_spectrum(W, method)
    size = float(base.singular_values[0])
    rotated = rotation(shape[0], seed) @ W @ rotation(shape[1], seed + 1)
    for other, factor in ((W * scale, scale), (W.T, 1.0), (rotated, 1.0)):
        found = matrix_spectrum(other, method)
        torch.testing.assert_close(found.singular_values / factor, base.singular_values, rtol=0, atol=5e-7 * size)
        assert found.stable_rank == pytest.approx(base.stable_rank, rel=1e-9)
        assert found.effective_rank == pytest.approx(base.effective_rank, rel=1e-5)


@pytest.mark.parametrize("shape", [(200, 200), (400, 70), (70, 400), (128, 8, 3, 3)])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e150])
def test_gram_is_exact_where_nothing_is_small(shape, scale):
    weight = np.random.default_rng(0).normal(size=shape)
    sigma = np.linalg.svd(weight.reshape(shape[0], -1), compute_uv=False)
    for method in ("gram", "auto"):
        found = matrix_spectrum(torch.from_numpy(weight * scale), method)
        np.testing.assert_allclose(found.singular_values / scale / sigma[0], sigma / sigma[0], rtol=0, atol=1e-10)
        assert found.alpha == pytest.approx(loop_alpha(sigma**2), rel=1e-6)


def with_singular_values(sigma, seed=0):
    n = len(sigma)
    return (rotation(n, seed) * sigma) @ rotation(n, seed + 1)


@pytest.mark.parametrize("smallest", [1e-4, 1e-6, 1e-8, 1e-12, 0.0])
def test_auto_loses_no_singular_value(smallest):
    sigma = torch.linspace(0, 1, 100, dtype=torch.float64).flip(0) ** 3
    sigma[-5:] = torch.linspace(smallest, smallest / 2, 5, dtype=torch.float64)
    W = with_singular_values(sigma)
    auto, exact = matrix_spectrum(W, "auto"), matrix_spectrum(W, "exact")
    np.testing.assert_allclose(auto.singular_values, exact.singular_values, rtol=0, atol=1e-8)
    assert auto.alpha == pytest.approx(exact.alpha, rel=1e-6)
    if smallest < 1e-6:  # and there it is the exact one
        assert torch.equal(auto.singular_values, exact.singular_values)


def test_gram_says_zero_where_it_cannot_see():
    sigma = torch.cat([torch.ones(30), torch.full((70,), 1e-9)]).double()
    W = with_singular_values(sigma)
    gram, exact = matrix_spectrum(W, "gram"), matrix_spectrum(W, "exact")
    assert (gram.singular_values == 0).sum() == 70
    assert (gram.singular_values - exact.singular_values).abs().max() < 1e-8
    assert gram.effective_rank == pytest.approx(30, rel=1e-6)
    assert matrix_spectrum(torch.zeros(80, 90), "gram").singular_values.eq(0).all()
    assert matrix_spectrum(torch.zeros(80, 90), "auto").singular_values.eq(0).all()


def test_orthogonal_and_low_rank():
    assert matrix_spectrum(rotation(100, 0), "auto").effective_rank == pytest.approx(100)
    A = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for method in ("exact", "gram", "auto"):
        found = matrix_spectrum(A @ A.T, method)
        assert found.effective_rank < 3.0001
        assert found.stable_rank < 3.0001
        assert math.isnan(found.alpha)  # three values are no tail


def of_rank(rank, n, dtype):
    A, B = (torch.randn(n, rank, dtype=dtype, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    return A @ B.T


@pytest.mark.parametrize("method", ["exact", "gram", "auto"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_no_part_of_the_tail(method, dtype):
    assert math.isnan(matrix_spectrum(of_rank(8, 128, dtype), method).alpha)  # eight values are no tail
    W = of_rank(40, 128, dtype)
    sigma = np.linalg.svd(W.double().numpy(), compute_uv=False)
    assert matrix_spectrum(W, method).alpha == pytest.approx(loop_alpha(sigma[:40] ** 2), rel=1e-6)
    assert matrix_spectrum(W.T, method).alpha == pytest.approx(loop_alpha(sigma[:40] ** 2), rel=1e-6)


@pytest.mark.parametrize("method", ["exact", "gram", "auto"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_up_to_rounding_is_equal(method, dtype):
    orthogonal = rotation(128, 0).to(dtype)
    assert math.isnan(matrix_spectrum(orthogonal, method).alpha)
    assert math.isnan(matrix_spectrum(3 * orthogonal[:100], method).alpha)
    assert math.isnan(matrix_spectrum(torch.eye(128, dtype=dtype), method).alpha)
    # nor are the larger ones of two values a tail: that has no slope, and their rounding alone one of millions
    sigma = torch.cat([torch.full((40,), 3.0), torch.ones(88)]).double()
    two = with_singular_values(sigma).to(dtype)
    assert matrix_spectrum(two, method).alpha < 3
    # a spread well above rounding is one
    sigma = 1 + 0.01 * torch.rand(128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    near = with_singular_values(sigma).to(dtype)
    assert matrix_spectrum(near, method).alpha == pytest.approx(loop_alpha(sigma.numpy() ** 2), rel=1e-2)


def test_noise_that_is_known_is_no_part_of_the_tail():
    sigma = 1e3 / torch.arange(1, 41, dtype=torch.float64)
    W = torch.diag(sigma)
    assert matrix_spectrum(W, noise=49.9).alpha == pytest.approx(loop_alpha(sigma[:20].numpy() ** 2), rel=1e-12)
    assert matrix_spectrum(W, noise=49.9).effective_rank == matrix_spectrum(W).effective_rank
    assert math.isnan(matrix_spectrum(W, noise=101.0).alpha)  # nine are left
    assert math.isnan(matrix_spectrum(W, noise=1e9).alpha)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_alpha_of_any_precision(dtype):
    values = torch.arange(1, 31).to(dtype)
    assert power_law_alpha(values) == pytest.approx(reference_alpha(values.tolist()), rel=1e-9)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_alpha_of_what_is_not_finite(value):
    values = torch.rand(100, dtype=torch.float64) + 1
    values[40] = value
    assert math.isnan(power_law_alpha(values))


def test_refusals():
    with pytest.raises(ValueError, match="'exact', 'gram' or 'auto'"):  # without the type check of the tests
        inspect.unwrap(matrix_spectrum)(torch.eye(3), "fast")
    with pytest.raises(ValueError, match=r"not \(5,\)"):
        matrix_spectrum(torch.zeros(5))
    with pytest.raises(ValueError, match="not finite"):
        matrix_spectrum(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match=r"one dimension, \(k,\), not the shape \(3, 4\)"):
        inspect.unwrap(power_law_alpha)(torch.ones(3, 4))
    for function, what in ((matrix_spectrum, "a weight is"), (power_law_alpha, "eigenvalues are")):
        with pytest.raises(TypeError, match=f"{what} a torch tensor, not ndarray; torch.as_tensor makes one"):
            inspect.unwrap(function)(np.ones((3, 3)))
    with pytest.raises(ValueError, match="positive"):
        power_law_alpha(torch.zeros(12, dtype=torch.float64))
