"""Axes of accuracy: round ticks inside the limits, none too close, all points seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from lightning_robust.report.accuracy_axis import accuracy_axes, percent_ticks
from lightning_robust.robustness.links import LINKS

SCALES = sorted(LINKS)


@pytest.mark.parametrize("scale", SCALES)
@given(st.floats(0.001, 0.98), st.floats(0.01, 0.99))
def test_ticks_are_inside_increasing_and_apart(scale, start, share):
    forward = LINKS[scale].forward
    end = start + share * (0.999 - start)
    low, high = float(forward(np.array(start))), float(forward(np.array(end)))
    ticks = percent_ticks(low, high, forward)
    places = forward(np.array(ticks) / 100)
    assert all(low <= place <= high for place in places)
    assert (np.diff(places) >= 0.1 * (high - low)).all()
    if end - start > 0.05:
        assert len(ticks) >= 2


def test_known_ticks():
    logit = LINKS["logit"].forward
    assert percent_ticks(float(logit(np.array(0.55))), float(logit(np.array(0.87))), logit) == [60, 70, 80]
    assert percent_ticks(0.0, 1.0, LINKS["linear"].forward) == [10, 30, 50, 70, 90]


def test_a_narrow_range_gets_fine_steps():
    logit = LINKS["logit"].forward
    assert percent_ticks(float(logit(np.array(0.843))), float(logit(np.array(0.862))), logit) == [84.5, 85, 85.5, 86]


def test_all_points_are_seen_with_ticks_in_percent():
    axes = Figure().subplots()
    x, y = np.array([0.6, 0.9, np.nan]), np.array([0.01, 0.5, 0.7])
    forward = LINKS["logit"].forward
    left, right = accuracy_axes(axes, forward, x, y)
    assert axes.get_xlim() == (left, right)
    assert left < forward(np.array(0.6)) < forward(np.array(0.9)) < right
    low, high = axes.get_ylim()
    assert low < forward(np.array(0.01)) < forward(np.array(0.7)) < high
    labels = [float(label.get_text()) for label in axes.get_yticklabels()]
    np.testing.assert_allclose(axes.get_yticks(), forward(np.array(labels) / 100))


@pytest.mark.parametrize("x", [[0.5], [np.nan], []])
def test_one_point_or_none(x):
    axes = Figure().subplots()
    left, right = accuracy_axes(axes, LINKS["logit"].forward, np.array(x), np.array(x))
    assert left < right
