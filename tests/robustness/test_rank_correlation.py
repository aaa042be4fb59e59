"""Spearman's rank correlation against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from lightning_robust.robustness.rank_correlation import centred_ranks, rank_correlation

NAN = math.nan


def test_rank_correlation_is_scipys_with_ties_and_gaps():
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 6, 40).astype(float), draw.normal(size=40)
    y = y + 0.3 * x
    assert rank_correlation(x, y) == (pytest.approx(stats.spearmanr(x, y).statistic), 40)
    gaps = [*x, NAN, 3.0], [*y, 1.0, NAN]
    assert rank_correlation(*gaps) == (pytest.approx(stats.spearmanr(x, y).statistic), 40)


def test_rank_correlation_is_not_defined_for_what_never_changes_or_two_points():
    assert math.isnan(rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])[0])
    assert math.isnan(rank_correlation([1.0, 2.0], [1.0, 2.0])[0])
    with pytest.raises(ValueError, match="one value for each point"):
        rank_correlation([1.0], [1.0, 2.0])


def test_ranks_of_samples_are_scipys_of_the_rows_as_often_as_they_are_held():
    draw = np.random.default_rng(1)
    values = draw.integers(0, 5, 12).astype(float)
    counts = draw.multinomial(12, np.full(12, 1 / 12), size=30).astype(float)
    found = centred_ranks(values, counts)
    for own, held in zip(found, counts.astype(int), strict=True):
        ranks = stats.rankdata(np.repeat(values, held)) - (held.sum() + 1) / 2
        np.testing.assert_array_equal(np.repeat(own, held), ranks)
    assert found.flags.c_contiguous
