"""Quantiles of kept values and of counted ones, against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures.quantiles import (
    BINS,
    CAPACITY,
    histogram_quantile,
    keep,
    log_histogram,
    median,
    merge_keepers,
    sorted_quantile,
)

LEVELS = [0.0, 0.05, 0.5, 0.95, 1.0]


@pytest.mark.parametrize("n", [1, 2, 5, 100])
@pytest.mark.parametrize("level", LEVELS)
def test_quantile_equals_numpy(n, level):
    values = np.sort(np.random.default_rng(n).normal(size=n))
    assert float(sorted_quantile(torch.from_numpy(values), level)) == pytest.approx(
        np.quantile(values, level), rel=1e-12
    )


def test_quantile_of_nothing():
    assert sorted_quantile(torch.zeros(0, dtype=torch.float64), 0.5).isnan()
    assert histogram_quantile(log_histogram(torch.zeros(0, dtype=torch.float64), 9), 9, 0.5).isnan()


@settings(max_examples=40, derandomize=True)
@given(
    d=st.integers(2, 5000),
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    level=st.sampled_from(LEVELS),
)
def test_histogram_is_within_a_bin(d, shares, level):
    values = np.exp(np.array(shares) * np.log(d))
    result = histogram_quantile(log_histogram(torch.from_numpy(values), d), d, level)
    # the lerp of two values that are each within a bin
    assert float(result) == pytest.approx(np.quantile(values, level), rel=1.001 * np.log(d) / BINS)


def test_values_outside_the_range_count_as_the_border():
    counts = log_histogram(torch.tensor([1 - 1e-15, 1.0, 8.0, 9.0], dtype=torch.float64), 8)
    assert counts.shape == (1, BINS)
    assert (counts[0, 0], counts[0, -1]) == (2, 2)


def test_histograms_add_up():
    values = torch.rand(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 7 + 1
    parts = [log_histogram(part, 8) for part in values.split(33)]
    assert torch.equal(sum(parts), log_histogram(values, 8))


def row(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_keeping_appends_until_it_is_full():
    keeper = keep(row()[None], row(3, 1), 0)
    keeper = keep(keeper, row(2), 2)
    assert keeper.shape == (1, CAPACITY)
    assert keeper[keeper != 0].tolist() == [3, 1, 2]
    full = keep(keeper, torch.ones(CAPACITY - 3, dtype=torch.float64), 3)
    assert int((full != 0).sum()) == CAPACITY
    assert not keep(full, row(1), CAPACITY).any()
    assert keeper[keeper != 0].tolist() == [3, 1, 2], "the old one stays as it was"


def test_keepers_merge():
    nothing = torch.zeros(1, CAPACITY, dtype=torch.float64)
    a, b = keep(row()[None], row(1, 2), 0), keep(row()[None], row(3), 0)
    merged = merge_keepers(torch.stack([a, nothing, b]))
    assert sorted(merged[merged != 0].tolist()) == [1, 2, 3]
    half = keep(row()[None], torch.ones(CAPACITY // 2 + 1, dtype=torch.float64), 0)
    assert not merge_keepers(torch.stack([half, half])).any(), "one too many"
    assert merge_keepers(torch.zeros(3, 1, 0, dtype=torch.float64)).shape == (1, 0)


def test_median():
    rows = torch.tensor([[5.0, 1.0, 2.0], [float("inf"), 1.0, 3.0], [float("nan"), 1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(median(rows), torch.tensor([2.0, 3.0, float("nan")]).double(), equal_nan=True)
    even = torch.randn(4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(median(even), np.median(even.numpy(), axis=1), rtol=1e-15)
    assert median(even[:, :0]).isnan().all()
    assert median(even[0]).shape == ()
