"""The jackknife+ by its definition."""

import math

import numpy as np
import pytest

from lightning_robust.robustness.diagnosis_intervals import jackknife_plus


@pytest.mark.parametrize(("n", "level"), [(9, 0.9), (19, 0.9), (24, 0.9), (30, 0.8)])
def test_one_row_per_family_gives_the_order_statistics_of_the_paper(n, level):
    """The ⌈(1−α)(n+1)⌉-th smallest of centre + error, the ⌊α(n+1)⌋-th smallest of centre − error."""
    draw = np.random.default_rng(n)
    centres, missed = draw.normal(size=(3, n)), np.abs(draw.normal(size=(3, n)))
    low, high = jackknife_plus(centres, missed, np.full((3, n), 1 / (n + 1)), level)
    alpha = 1 - level
    k_high, k_low = math.ceil(level * (n + 1) - 1e-9), math.floor(alpha * (n + 1) + 1e-9)
    np.testing.assert_array_equal(high, np.sort(centres + missed, axis=1)[:, k_high - 1])
    np.testing.assert_array_equal(low, np.sort(centres - missed, axis=1)[:, k_low - 1])


def test_nine_families_are_the_fewest_for_ninety_percent():
    for n, ends in ((8, math.inf), (9, 2.0)):
        low, high = jackknife_plus(np.zeros((1, n)), np.full((1, n), 2.0), np.full((1, n), 1 / (n + 1)), 0.9)
        assert (low[0], high[0]) == (-ends, ends)


def test_rows_of_a_family_share_its_weight():
    """Ten rows of one family that miss by much count like the one row of another."""
    missed = np.array([[1.0] * 3 + [50.0] * 10])
    weights = np.array([[0.2] * 3 + [0.02] * 10])
    assert [float(jackknife_plus(np.zeros((1, 13)), missed, weights, level)[1][0]) for level in (0.6, 0.7)] == [1, 50]


def test_rows_without_weight_say_nothing():
    centres, missed, weights = np.zeros((1, 3)), np.array([[0.1, 9.0, 0.2]]), np.array([[0.4, 0.0, 0.4]])
    assert [float(end[0]) for end in jackknife_plus(centres, missed, weights, 0.8)] == [-0.2, 0.2]


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan])
def test_levels(level):
    with pytest.raises(ValueError, match="lies between 0 and 1, got"):
        jackknife_plus(np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1)), level)
