"""Lines: against scipy and numpy, leave-one-out against fitting again, and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lightning_robust.robustness.line import fit_line, least_squares


@given(st.integers(0, 10_000), st.integers(3, 40))
def test_one_line_is_scipys(seed, count):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=count), rng.normal(size=count)
    slope, intercept, r_squared, _ = fit_line(x, y)
    reference = stats.linregress(x, y)
    assert slope == pytest.approx(reference.slope, rel=1e-9, abs=1e-12)
    assert intercept == pytest.approx(reference.intercept, rel=1e-9, abs=1e-12)
    assert r_squared == pytest.approx(reference.rvalue**2, rel=1e-9, abs=1e-12)


def test_left_out_is_fitting_again():
    rng = np.random.default_rng(1)
    x = rng.normal(size=15)
    y = 2 * x - 1 + rng.normal(size=15)
    left_out = fit_line(x, y)[3]
    for k in range(15):
        others = np.arange(15) != k
        slope, intercept = np.polyfit(x[others], y[others], 1)
        assert left_out[k] == pytest.approx(y[k] - intercept - slope * x[k], rel=1e-9)


def test_many_lines_are_numpys():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(5, 3, 9)), rng.normal(size=(5, 3, 9))
    slope, intercept = least_squares(x, y)
    for i in range(5):
        for j in range(3):
            np.testing.assert_allclose((slope[i, j], intercept[i, j]), np.polyfit(x[i, j], y[i, j], 1), rtol=1e-9)


def test_equal_abscissae_have_no_line():
    slope, intercept = least_squares(np.array([[0.3, 0.3, 0.3], [0.0, 1.0, 2.0]]), np.array([[1.0, 2.0, 3.0]] * 2))
    assert np.isnan([slope[0], intercept[0]]).all()
    assert (slope[1], intercept[1]) == (1.0, 1.0)


@pytest.mark.parametrize("value", [2.0, -4.59511985013459, 0.1])
def test_equal_ordinates_leave_nothing_to_explain(value):
    """Their mean is off by rounding, whose share a line does not explain: R² was any number between −1 and 1."""
    slope, intercept, r_squared, left_out = fit_line(np.linspace(-1.3, 2.1, 11), np.full(11, value))
    assert (slope, intercept) == pytest.approx((0.0, value), abs=1e-14)
    assert np.isnan(r_squared)
    assert np.abs(left_out).max() < 1e-14


def test_a_tiny_slope_is_explained():
    x = np.linspace(0, 1, 9)
    assert fit_line(x, 3 + 1e-6 * x)[2] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("x", "message"),
    [([0.0, 1.0], "at least 3 models, got 2"), ([0.5] * 5, "2 different"), ([0.0, 0.0, 0.0, 1.0], "left out")],
)
def test_refusals(x, message):
    with pytest.raises(ValueError, match=message):
        fit_line(np.array(x), np.arange(len(x), dtype=float))
