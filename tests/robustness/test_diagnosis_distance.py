"""Distance from a table against scikit-learn's and known answers."""

import numpy as np
import pytest
from diagnosis_tables import family_rows
from sklearn.covariance import EmpiricalCovariance

from lightning_robust.robustness.diagnosis_distance import limit_left_out, table_distance
from lightning_robust.robustness.diagnosis_regression import FamilyRows


def independent(n=400, p=3, seed=0):
    """One row per family, so that all weigh the same."""
    x = np.random.default_rng(seed).normal(size=(n, p)) * [1.0, 10.0, 0.1][:p] + 5
    return FamilyRows(x, np.zeros(n), np.arange(n))


def test_it_is_mahalanobis_over_the_square_root_of_the_number_of_figures():
    rows = independent()
    mahalanobis = EmpiricalCovariance().fit(rows.x).mahalanobis(rows.x)
    np.testing.assert_allclose(table_distance(rows).of(rows.x), np.sqrt(mahalanobis / 3), rtol=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_tables_rows_have_a_mean_square_of_one_families_weighing_the_same(seed):
    rows = family_rows(families=9, seed=seed)
    square = table_distance(rows).of(rows.x) ** 2
    assert np.mean([square[rows.family == f].mean() for f in range(9)]) == pytest.approx(1)


def test_units_do_not_matter():
    rows = family_rows(families=9)
    scale, shift = np.array([1e-6, 3.0, 1e7]), np.array([0.0, 100.0, -1.0])
    other = FamilyRows(rows.x * scale + shift, rows.y, rows.family)
    np.testing.assert_allclose(table_distance(other).of(other.x), table_distance(rows).of(rows.x), rtol=1e-6)


def test_two_figures_that_say_the_same_make_no_model_far_and_one_that_parts_them_is():
    rows = independent(p=2)
    twice = FamilyRows(rows.x[:, [0, 0, 1]], rows.y, rows.family)
    distance = table_distance(twice)
    assert distance.of(twice.x).max() < 5
    assert distance.of(np.array([7.0, 3.0, 5.0])) > 5


def test_a_figure_that_does_not_vary_counts_in_its_own_units():
    rows = FamilyRows(np.array([[0.0, 3.0], [1.0, 3.0], [2.0, 3.0]]), np.zeros(3), np.arange(3))
    distance = table_distance(rows)
    assert distance.of(np.array([1.0, 3.0])) == 0
    assert distance.of(np.array([1.0, 4.0])) > 5


def test_the_farthest_is_judged_without_its_family_and_is_the_limit_of_few():
    x = np.array([[-1.0], [0.0], [1.0], [-1.0], [1.0], [30.0]])
    rows = FamilyRows(x, np.zeros(6), np.arange(6))
    spread = np.sqrt(np.mean(x[:5] ** 2))
    assert limit_left_out(rows, 0.9) == pytest.approx(30 / spread)
    assert table_distance(rows).of(x).max() < 3
    # of seven equal weights, one for a family to come, 0.7 is reached by five
    assert limit_left_out(rows, 0.7) < 3


def test_one_family_that_lies_apart_does_not_make_everything_near():
    rows = family_rows(families=25, most=3)
    apart = FamilyRows(np.vstack([rows.x, [[60.0, 0.0, 0.0]]]), np.append(rows.y, 0.0), np.append(rows.family, 25))
    without = limit_left_out(rows, 0.9)
    assert limit_left_out(apart, 0.9) < 1.5 * without
    assert limit_left_out(apart, 0.99) > 10 * without


def test_a_family_like_the_others_lies_beyond_it_as_often_as_the_level_says():
    beyond = []
    for seed in range(150):
        rows = family_rows(families=21, most=3, seed=seed)
        table, new = rows.family < 20, rows.family == 20
        limit = limit_left_out(FamilyRows(rows.x[table], rows.y[table], rows.family[table]), 0.8)
        distance = table_distance(FamilyRows(rows.x[table], rows.y[table], rows.family[table])).of(rows.x[new])
        beyond.append(np.mean(distance > limit))
    assert np.mean(beyond) == pytest.approx(0.2, abs=0.07)
