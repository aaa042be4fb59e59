"""Partial rank correlations against regressions on ranks, and a bootstrap that repeats rows one by one."""

import math

import numpy as np
import pytest
from scipy import stats

from lightning_robust.robustness.partial_correlation import partial_spearman, partial_within


def rows(n=40, families=10, seed=0):
    draw = np.random.default_rng(seed)
    z = draw.normal(size=n)
    x = np.round(z + draw.normal(size=n), 1)  # ties
    return x, z + 0.5 * x + draw.normal(size=n), z, np.arange(n) % families


def left_over(values, *columns):
    """What least squares on columns and a constant leaves."""
    design = np.stack([np.ones(len(values)), *columns], axis=1)
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def test_alone_it_is_scipys():
    x, y, _, family = rows()
    found = partial_spearman(x, y, family, replicates=50)
    assert found.estimate == pytest.approx(stats.spearmanr(x, y).statistic)


def test_with_a_figure_held_fixed_it_is_what_a_regression_of_ranks_leaves():
    x, y, z, family = rows()
    a, b, c = (stats.rankdata(values) for values in (x, y, z))
    expected = stats.pearsonr(left_over(a, c), left_over(b, c)).statistic
    assert partial_spearman(x, y, family, given=z, replicates=5).estimate == pytest.approx(expected)


def test_with_groups_and_a_figure_held_fixed_it_is_what_a_regression_of_ranks_leaves():
    x, y, z, family = rows()
    groups = np.arange(40) % 3
    a, b, c = (stats.rankdata(values) for values in (x, y, z))
    dummies = [(groups == k).astype(float) for k in (1, 2)]
    expected = stats.pearsonr(left_over(a, c, *dummies), left_over(b, c, *dummies)).statistic
    found = partial_spearman(x, y, family, given=z, groups=groups, replicates=5)
    assert found.estimate == pytest.approx(expected)


@pytest.mark.parametrize("held", [False, True])
def test_the_bootstrap_repeats_all_rows_of_a_family(held):
    x, y, z, family = rows(n=24, families=6)
    found = partial_spearman(x, y, family, given=z if held else None, replicates=200, level=0.9, seed=3)
    naive = []
    for counts in np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=200):
        drawn = np.repeat(np.arange(24), counts[family])
        ranks = [stats.rankdata(values[drawn]) for values in (x, y, z)]
        sides = [left_over(values, ranks[2]) for values in ranks[:2]] if held else ranks[:2]
        naive.append(np.corrcoef(*sides)[0, 1])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(naive, [0.05, 0.95])))
    assert (found.level, found.replicates, found.seed) == (0.9, 200, 3)


def test_intervals_hold_the_true_correlation_of_nineteen_families():
    draw, held = np.random.default_rng(0), []
    true = 6 / math.pi * math.asin(0.25)  # of the ranks of normal variables that correlate at 0.5
    for _ in range(200):
        x, noise = draw.normal(size=(2, 19))
        found = partial_spearman(x, 0.5 * x + math.sqrt(0.75) * noise, np.arange(19), replicates=200)
        held.append(found.low <= true <= found.high)
    assert 0.90 <= np.mean(held) <= 0.99


def test_what_follows_the_held_figure_has_no_partial_correlation():
    _, y, z, family = rows()
    assert math.isnan(partial_spearman(np.exp(z), y, family, given=z, replicates=5).estimate)
    assert math.isnan(partial_spearman(np.zeros(40), y, family, replicates=5).estimate)
    assert math.isnan(partial_spearman(family * 1.0, y, family, groups=family, replicates=5).estimate)


def test_inside_families_ranks_are_taken_in_each_and_put_together():
    x, y, z, family = rows()
    # what lies between families must not matter
    shifted = x + 100 * family, y - 7 * family, z + 3 * family
    ranked = np.zeros((3, 40))
    for k, values in enumerate((x, y, z)):
        for f in range(10):
            own = family == f
            ranked[k, own] = stats.rankdata(values[own]) - (own.sum() + 1) / 2
    expected = stats.pearsonr(left_over(ranked[0], ranked[2]), left_over(ranked[1], ranked[2])).statistic
    for a, b, c in ((x, y, z), shifted):
        assert partial_within(a, b, family, c, replicates=5).estimate == pytest.approx(expected)


def test_two_rows_are_too_few():
    two = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="at least three rows, got 2"):
        partial_spearman(two, two, np.array([0, 1]))
    with pytest.raises(ValueError, match="at least three rows, got 2"):
        partial_within(two, two, np.array([0, 1]), two)
