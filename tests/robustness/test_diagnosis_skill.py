"""R² and coverage counted by hand."""

import numpy as np
import pytest
from diagnosis_tables import family_rows
from sklearn.metrics import r2_score

from lightning_robust.results.diagnosis_record import Coverage
from lightning_robust.robustness.diagnosis_left_out import LeftOut, leave_families_out
from lightning_robust.robustness.diagnosis_regression import FamilyRows
from lightning_robust.robustness.diagnosis_skill import counted_coverage, judged, r_squared
from lightning_robust.robustness.wilson import wilson_interval


def fixed(rows, coefficients):
    """The same regression whoever is left out."""
    return LeftOut(rows, 1.0, np.broadcast_to(coefficients, (rows.families, rows.families, len(coefficients))))


def test_r_squared_by_a_loop():
    rows = family_rows(families=6)
    found = leave_families_out(rows)
    missed = spread = 0.0
    for f in range(6):
        own = rows.family == f
        others = np.mean([rows.y[rows.family == g].mean() for g in range(6) if g != f])
        missed += np.mean((rows.y[own] - found.predictions[own]) ** 2)
        spread += np.mean((rows.y[own] - others) ** 2)
    assert r_squared(found) == pytest.approx(1 - missed / spread, abs=1e-12)


def test_r_squared_of_one_row_per_family_is_the_usual_one_but_for_the_mean_left_out():
    draw = np.random.default_rng(0)
    rows = FamilyRows(draw.normal(size=(50, 1)), draw.normal(size=50), np.arange(50))
    usual = r2_score(rows.y, rows.x[:, 0])
    assert 1 - r_squared(fixed(rows, [0.0, 1.0])) == pytest.approx((1 - usual) * (49 / 50) ** 2)


def test_a_perfect_prediction_and_the_mean_of_the_others():
    rows = FamilyRows(np.arange(5.0)[:, None], np.arange(5.0), np.arange(5))
    assert r_squared(fixed(rows, [0.0, 1.0])) == 1
    assert r_squared(fixed(rows, [100.0, 0.0])) < -100
    same = FamilyRows(rows.x, np.ones(5), rows.family)
    assert np.isnan(r_squared(fixed(same, [0.0, 1.0])))


def test_coverage_is_counted_over_rows_and_with_one_row_of_each_family():
    rows = family_rows(families=12, most=2, p=2)
    found = leave_families_out(rows)
    heads = np.r_[True, np.diff(rows.family) > 0]
    skill = judged(found, "diagnosis", "diagnosis", ("a", "b"), heads, heads & (rows.family < 4), 0.8, 0)
    low, high = found.intervals(0.8)
    held = (low <= rows.y) & (rows.y <= high)
    for coverage, counted in ((skill.coverage, held), (skill.coverage_by_family, held[heads])):
        ends = wilson_interval(int(counted.sum()), len(counted))
        assert coverage == Coverage(held=int(counted.sum()), total=len(counted), low=ends[0], high=ends[1], nominal=0.8)
    assert (skill.rows, skill.families) == (len(rows.y), 12)
    assert skill.pretrained.estimate in (-1, -0.8, -0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 1)  # of four
    none = judged(found, "x", "rival", ("a",), heads, np.zeros(len(heads), dtype=bool), 0.8, 0)
    assert none.pretrained is None


def test_no_interval_was_counted():
    with pytest.raises(ValueError, match="at least one"):
        counted_coverage([], 0.9)
