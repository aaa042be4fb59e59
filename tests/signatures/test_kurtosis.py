"""Kurtosis against scipy and against answers that can be derived by hand."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lightning_robust.signatures import ActivationKurtosis, activation_kurtosis, gaussian_kurtosis, width_adjusted
from lightning_robust.signatures.quantiles import BINS, CAPACITY


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


@pytest.mark.parametrize("scale", [1e-300, 1e-90, 1e-75, 1e75, 1e90, 1e300])
def test_fourth_powers_may_leave_the_range_of_float64(scale):
    h = torch.from_numpy(np.random.default_rng(0).normal(1, 2, size=(3, 40)))
    np.testing.assert_allclose(activation_kurtosis(h * scale), scipy_kurtosis(h.numpy()), rtol=1e-10)


@pytest.mark.parametrize("d", [5, 768])
def test_an_image_has_the_same_kurtosis_in_any_company(d):
    """To the last bit: a quantile from a histogram must not depend on how images were batched."""
    h = torch.randn(300, d, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([activation_kurtosis(row[None]) for row in h])
    assert torch.equal(activation_kurtosis(h), alone)
    assert torch.equal(activation_kurtosis(h.T.contiguous().T), alone)


def many(n, seed=0):
    """Enough images to fill what is kept one by one, with few features each."""
    return torch.from_numpy(np.random.default_rng(seed).standard_t(3, size=(n, 6)))


def fed(*batches):
    metric = ActivationKurtosis()
    for batch in batches:
        metric.update(batch)
    return metric


@pytest.mark.parametrize("n", [CAPACITY - 1, CAPACITY])
def test_quantiles_are_exact_up_to_the_capacity(n):
    h = many(n)
    result = fed(*h.split(20_000)).compute()
    values = scipy_kurtosis(h.numpy())
    assert float(result["mean"]) == pytest.approx(values.mean(), rel=1e-12)
    for name, level in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
        assert float(result[name]) == pytest.approx(np.quantile(values, level), rel=1e-12)


def test_beyond_the_capacity_quantiles_are_within_a_bin():
    h = many(2 * CAPACITY + 5)
    result = fed(*h.split(20_000)).compute()
    values = scipy_kurtosis(h.numpy())
    assert float(result["mean"]) == pytest.approx(values.mean(), rel=1e-12)
    for name, level in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
        assert float(result[name]) == pytest.approx(np.quantile(values, level), rel=np.log(6) / BINS)
        assert float(result[name]) != pytest.approx(np.quantile(values, level), rel=1e-12)


@pytest.mark.parametrize("n", [CAPACITY, CAPACITY + 1])
def test_ranks_batches_and_order_do_not_matter_at_the_capacity(n):
    """Whether quantiles are exact is decided by all ranks together: each kept everything it saw."""
    h = many(n)
    expected = fed(h).compute()
    first, second, third = fed(h[:1]), fed(*h[1:30_000].split(7_000)), fed(h[30_000:])
    third.merge_state(ActivationKurtosis())
    third.merge_state(second)
    third.merge_state(first)
    shuffled = fed(*h[torch.randperm(n, generator=torch.Generator().manual_seed(1))].split(9_999))
    for result in (third.compute(), shuffled.compute()):
        for name in ("q05", "q50", "q95", "n"):
            assert torch.equal(result[name], expected[name])
        torch.testing.assert_close(result["mean"], expected["mean"], rtol=1e-13, atol=0)


def test_a_merge_after_the_capacity_brings_no_exactness_back():
    h = many(CAPACITY + 500)
    parts = [fed(h[:40_000]), fed(h[40_000:-100]), fed(h[-100:])]
    parts[0].merge_state(parts[1])
    parts[0].merge_state(parts[2])
    parts[0].update(h[:0])
    whole = fed(h).compute()
    assert all(torch.equal(parts[0].compute()[name], whole[name]) for name in ("q05", "q50", "q95"))
