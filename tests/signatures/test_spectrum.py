"""Weight spectra against numpy, and the power law against scipy's Kolmogorov-Smirnov test."""

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


def test_refusals():
    with pytest.raises(ValueError, match=r"not \(5,\)"):
        matrix_spectrum(torch.zeros(5))
    with pytest.raises(ValueError, match="not finite"):
        matrix_spectrum(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match="positive"):
        power_law_alpha(torch.zeros(12, dtype=torch.float64))
