"""Families left out by ones and twos: a naive loop of scikit-learn's pipelines finds the same, digit by digit."""

import math

import numpy as np
import pytest
from diagnosis_tables import family_rows
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lightning_robust.robustness.diagnosis_left_out import leave_families_out
from lightning_robust.robustness.diagnosis_regression import PENALTIES, FamilyRows


def fitted(rows, used):
    """A pipeline whose penalty is chosen on the rows that it is fitted on, by a loop."""
    groups, weights = rows.family[used], rows.weights

    def at(penalty, train):
        made = make_pipeline(StandardScaler(), Ridge(alpha=penalty))
        w = weights[train]
        return made.fit(rows.x[train], rows.y[train], standardscaler__sample_weight=w, ridge__sample_weight=w)

    losses = np.zeros(len(PENALTIES))
    for train, test in GroupKFold(min(5, len(set(groups)))).split(used, groups=groups):
        for k, penalty in enumerate(PENALTIES):
            missed = rows.y[used[test]] - at(penalty, used[train]).predict(rows.x[used[test]])
            losses[k] += weights[used[test]] @ missed**2
    best = max(penalty for penalty, loss in zip(PENALTIES, losses, strict=True) if loss <= losses.min() * (1 + 1e-9))
    return at(best, used)


def quantile(values, weights, level):
    """The smallest value at or below which lies the weight, by a loop."""
    total = 0.0
    for value, weight in sorted(zip(values, weights, strict=True)):
        total += weight
        if total >= level - 1e-9:
            return value
    return math.inf


def cv_plus(rows, used, x, level):
    """The interval at x from the rows used, by a loop over their families."""
    families = sorted(set(rows.family[used].tolist()))
    up, down, weights = [], [], []
    for f in families:
        one, rest = used[rows.family[used] == f], used[rows.family[used] != f]
        model = fitted(rows, rest)
        centre = float(model.predict(x[None])[0])
        for row in one:
            missed = abs(rows.y[row] - float(model.predict(rows.x[row][None])[0]))
            up.append(centre + missed)
            down.append(missed - centre)
            weights.append(1 / ((len(families) + 1) * len(one)))
    return -quantile(down, weights, level), quantile(up, weights, level)


@pytest.fixture(scope="module")
def small():
    rows = family_rows(families=4, p=2)
    return rows, leave_families_out(rows)


def test_predictions_are_those_of_a_loop_over_left_out_groups(small):
    rows, found = small
    for train, test in LeaveOneGroupOut().split(rows.x, groups=rows.family):
        reference = fitted(rows, train).predict(rows.x[test])
        np.testing.assert_allclose(found.predictions[test], reference, rtol=0, atol=1e-10)


def test_intervals_of_the_tables_rows_are_those_of_a_loop(small):
    rows, found = small
    low, high = found.intervals(0.7)
    assert np.isfinite(low).all()
    for row in (0, 6):
        others = np.flatnonzero(rows.family != rows.family[row])
        np.testing.assert_allclose((low[row], high[row]), cv_plus(rows, others, rows.x[row], 0.7), rtol=0, atol=1e-10)


def test_the_interval_of_another_model_is_that_of_a_loop(small):
    rows, found = small
    x = np.array([0.3, -1.2])
    expected = cv_plus(rows, np.arange(len(rows.y)), x, 0.75)
    np.testing.assert_allclose(found.interval_at(x, 0.75), expected, rtol=0, atol=1e-10)


def test_means_are_of_the_other_families():
    rows = FamilyRows(np.zeros((5, 1)), np.array([1.0, 3.0, 10.0, 20.0, 30.0]), np.array([0, 0, 1, 2, 3]))
    assert leave_families_out(rows).means.tolist() == [20.0, 20.0, 52 / 3, 14.0, 32 / 3]


def test_too_few_families_for_the_level_have_no_end(small):
    _, found = small
    low, high = found.intervals(0.9)
    assert (low == -np.inf).all()
    assert (high == np.inf).all()
    assert found.interval_at(np.zeros(2), 0.9) == (-math.inf, math.inf)


def test_three_families_are_too_few():
    with pytest.raises(ValueError, match="at least 4 families, got 3"):
        leave_families_out(family_rows(families=3))


def test_what_is_left_out_does_not_matter():
    """The prediction of a family does not change with its own targets."""
    rows = family_rows(families=6)
    moved = rows.y + 5.0 * (rows.family == 2)
    before, after = leave_families_out(rows), leave_families_out(FamilyRows(rows.x, moved, rows.family))
    own = rows.family == 2
    np.testing.assert_allclose(after.predictions[own], before.predictions[own], rtol=0, atol=1e-12)
    for first, second in zip(before.intervals(0.8), after.intervals(0.8), strict=True):
        np.testing.assert_allclose(second[own], first[own], rtol=0, atol=1e-12)
    assert not np.allclose(after.predictions[~own], before.predictions[~own])


@pytest.mark.parametrize("families", [10, 14])
def test_intervals_hold_new_families_about_as_often_as_they_say(families):
    """Counted over many tables, families not rows: half of the error is the family's own."""
    held = np.zeros(2, dtype=int)
    inside = 0.0
    for seed in range(12):
        table = family_rows(families=families + 20, most=2, p=2, seed=100 + seed)
        seen = table.family < families
        found = leave_families_out(FamilyRows(table.x[seen], table.y[seen], table.family[seen]))
        for row in np.flatnonzero(~seen):
            low, high = found.interval_at(table.x[row], 0.8)
            held += low <= table.y[row] <= high, 1
        low, high = found.intervals(0.8)
        inside += ((low <= table.y[seen]) & (table.y[seen] <= high)).mean() / 12
    assert 0.77 < held[0] / held[1] < 0.9
    assert 0.77 < inside < 0.92
