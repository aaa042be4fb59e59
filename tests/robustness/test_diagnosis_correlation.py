"""Rank correlations over families against scipy's, estimate and bootstrap draws alike."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from lightning_robust.robustness.diagnosis_correlation import (
    LEVEL,
    REPLICATES,
    drawn_families,
    spearman,
    spearman_between,
    spearman_within,
)

FAMILY = np.repeat(np.arange(7), [1, 2, 3, 4, 5, 4, 3])


def pairs(seed=0, digits=1):
    """Two related columns with ties."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=len(FAMILY)) + draw.normal(size=7)[FAMILY]
    return x.round(digits), (0.5 * x + draw.normal(size=len(FAMILY))).round(digits)


def percentiles(values):
    return np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])


def test_over_all_rows_and_draws_as_scipy_has_it(monkeypatch):
    monkeypatch.setattr("lightning_robust.robustness.diagnosis_correlation.REPLICATES", 150)
    x, y = pairs()
    found = spearman(x, y, FAMILY, seed=3)
    assert found.estimate == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    replicates = []
    for counts in drawn_families(7, 3).astype(int):
        rows = np.concatenate([np.flatnonzero(f == FAMILY) for f in range(7) for _ in range(counts[f])])
        replicates.append(spearmanr(x[rows], y[rows]).statistic)
    np.testing.assert_allclose((found.low, found.high), percentiles(replicates), atol=1e-12)
    assert (found.level, found.replicates, found.seed) == (0.95, 150, 3)


def test_between_families_as_scipy_has_it():
    x, y = pairs()
    means = [np.array([values[f == FAMILY].mean() for f in range(7)]) for values in (x, y)]
    assert spearman_between(x, y, FAMILY, 0).estimate == pytest.approx(spearmanr(*means).statistic, abs=1e-12)


def test_within_families_as_scipy_has_it():
    x, y = pairs()
    inside = [spearmanr(x[f == FAMILY], y[f == FAMILY]).statistic for f in range(2, 7)]
    found = spearman_within(x, y, FAMILY, 0)
    assert found.estimate == pytest.approx(np.mean(inside), abs=1e-12)
    draws = drawn_families(5, 0).astype(int)
    np.testing.assert_allclose(
        (found.low, found.high), percentiles([np.repeat(inside, counts).mean() for counts in draws]), atol=1e-12
    )


def test_between_and_within_can_be_opposite():
    family = np.repeat(np.arange(5), 4)
    inside = np.tile(np.arange(4.0), 5)
    x, y = 10.0 * family + inside, 10.0 * family - inside
    assert spearman_between(x, y, family, 0).low == pytest.approx(1)
    assert spearman_within(x, y, family, 0).high == pytest.approx(-1)


@pytest.mark.parametrize("of", [spearman, spearman_between, spearman_within])
def test_what_does_not_vary_has_none(of):
    x, _ = pairs()
    for found in (of(x, np.ones(len(x)), FAMILY, 0), of(x[:2], x[:2], np.array([0, 1]), 0)):
        assert np.isnan([found.estimate, found.low, found.high]).all()


def test_families_that_do_not_vary_inside_are_left_out():
    x, y = pairs()
    y[FAMILY == 4] = 1.0
    inside = [spearmanr(x[f == FAMILY], y[f == FAMILY]).statistic for f in (2, 3, 5, 6)]
    assert spearman_within(x, y, FAMILY, 0).estimate == pytest.approx(np.mean(inside), abs=1e-12)


def test_draws_are_of_as_many_families_as_there_are():
    draws = drawn_families(6, 1)
    assert draws.shape == (REPLICATES, 6)
    assert (draws.sum(axis=1) == 6).all()
    assert draws.mean(axis=0) == pytest.approx(1, abs=0.1)
    assert (drawn_families(6, 1) == draws).all()
    assert not (drawn_families(6, 2) == draws).all()
