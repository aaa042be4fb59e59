"""Kurtosis against scipy and against answers that can be derived by hand."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lightning_robust.signatures import ActivationKurtosis, activation_kurtosis, gaussian_kurtosis, width_adjusted
from lightning_robust.signatures.kurtosis import sorted_quantile


def scipy_kurtosis(h):
    return scipy.stats.kurtosis(h, axis=1, fisher=False, bias=True)


@pytest.mark.parametrize("d", [2, 3, 128, 4096])
@pytest.mark.parametrize("n", [1, 3, 700])
def test_equals_scipy(n, d):
    h = torch.from_numpy(np.random.default_rng(0).standard_t(3, size=(n, d)))
    np.testing.assert_allclose(activation_kurtosis(h), scipy_kurtosis(h.numpy()), rtol=1e-12)


@settings(max_examples=30, derandomize=True)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(2, 20)),
        elements=st.integers(-100, 100).map(lambda i: i / 7),
    )
)
def test_equals_scipy_ties_and_constant_rows(h):
    varied = np.ptp(h, axis=1) > 0  # scipy warns for constant rows
    result = activation_kurtosis(torch.from_numpy(h)).numpy()
    assert np.isnan(result[~varied]).all()
    np.testing.assert_allclose(result[varied], scipy_kurtosis(h[varied]), rtol=1e-9)
    d = h.shape[1]
    assert (result[varied] >= 1 - 1e-9).all()
    assert (result[varied] <= d - 2 + 1 / (d - 1) + 1e-9).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_float64_inside(dtype):
    h = (torch.randn(9, 300, generator=torch.Generator().manual_seed(0)) * 5).to(dtype)
    result = activation_kurtosis(h)
    assert result.dtype == torch.float64
    np.testing.assert_allclose(result, scipy_kurtosis(h.double().numpy()), rtol=1e-12)


def test_the_maximum_is_one_feature_alone():
    h = torch.zeros(1, 50)
    h[0, 7] = 3
    assert float(activation_kurtosis(h)) == pytest.approx(50 - 2 + 1 / 49, rel=1e-12)


@pytest.mark.parametrize("value", [0.1, -1e30, 1e-30, 0.0, 1 / 3])
def test_constant_rows_are_undefined(value):
    assert activation_kurtosis(torch.full((2, 777), value, dtype=torch.float64)).isnan().all()


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_rows_that_are_not_finite_are_undefined_and_leave_the_others_alone(value):
    h = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    h[1, 4] = value
    assert activation_kurtosis(h).isnan().tolist() == [False, True, False]


def test_gaussian_expectation():
    h = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(3))
    k = activation_kurtosis(h)
    standard_error = float(k.std()) / len(k) ** 0.5
    assert abs(float(k.mean()) - gaussian_kurtosis(16)) < 4 * standard_error
    assert abs(3 - gaussian_kurtosis(16)) > 20 * standard_error, "so 3 itself would be told apart"
    assert float(width_adjusted(k.mean(), 16)) == pytest.approx(1, abs=0.02)


def test_a_planted_outlier_moves_every_figure():
    h = torch.randn(200, 128, generator=torch.Generator().manual_seed(0))
    planted = h.clone()
    planted[:, 5] = planted[:, 5].abs() * 30 + 30
    results = []
    for features in (h, planted):
        metric = ActivationKurtosis()
        metric.update(features)
        results.append(metric.compute())
    for key in ("mean", "q05", "q50", "q95", "width_adjusted"):
        assert results[1][key] > 10 * results[0][key], key


def test_undefined_images_are_counted_and_left_out():
    metric = ActivationKurtosis()
    metric.update(torch.tensor([[1.0, -1.0], [2.0, 2.0]]))
    result = metric.compute()
    assert (result["mean"], result["n"], result["undefined"]) == (1, 2, 1)


def test_all_undefined_gives_nan():
    metric = ActivationKurtosis()
    metric.update(torch.ones(3, 5))
    result = metric.compute()
    assert result["mean"].isnan()
    assert result["q50"].isnan()
    assert result["width_adjusted"].isnan()
    assert (result["n"], result["undefined"]) == (3, 3)


def test_one_feature_has_no_kurtosis():
    with pytest.raises(ValueError, match="at least 2 features, not 1"):
        gaussian_kurtosis(1)
    assert activation_kurtosis(torch.ones(3, 1)).isnan().all()
    metric = ActivationKurtosis()
    metric.update(torch.tensor([[1.0], [2.0], [float("nan")]]))
    result = metric.compute()
    assert all(result[key].isnan() for key in ("mean", "q05", "q50", "q95", "width_adjusted"))
    assert (result["n"], result["undefined"], result["not_finite"]) == (3, 2, 1)


@pytest.mark.parametrize("n", [1, 2, 5, 100])
@pytest.mark.parametrize("level", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_quantile_equals_numpy(n, level):
    values = np.sort(np.random.default_rng(n).normal(size=n))
    assert float(sorted_quantile(torch.from_numpy(values), level)) == pytest.approx(
        np.quantile(values, level), rel=1e-12
    )
