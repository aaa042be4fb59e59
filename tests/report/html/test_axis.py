"""Places and ticks of an axis."""

import math

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm

from lightning_robust.report.html.axis import Axis, written


@pytest.mark.parametrize(
    ("scale", "forward"), [("linear", np.asarray), ("log", np.log10), ("logit", logit), ("probit", norm.ppf)]
)
def test_places_are_straight_on_the_scale(scale, forward):
    values = [0.05, 0.3, 0.6, 0.95]
    placed = Axis(label="", scale=scale, low=0.02, high=0.98).placed(values, 100, 20)
    ends = forward(np.array([0.02, 0.98]))
    expected = 100 - 80 * (forward(np.array(values)) - ends[0]) / (ends[1] - ends[0])
    np.testing.assert_allclose([placed(v) for v in values], expected, rtol=1e-9)


@pytest.mark.parametrize("values", [(0.2, 0.9), (3.0, 3.0), (0.0, 0.0), (-5.0, 1e6), (0.71, 0.712), (), (math.nan,)])
@pytest.mark.parametrize("axis", [Axis(label="a"), Axis(label="a", percent=True), Axis(label="a", whole=True)])
def test_there_are_a_few_ticks_and_all_lie_inside(axis, values):
    placed = axis.placed(values, 0, 100)
    places = [place for place, _ in placed.ticks]
    assert 1 <= len(places) <= 8
    assert places == sorted(places)
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    for value in values:
        assert math.isnan(value) or -1e-6 <= placed(value) <= 100 + 1e-6


def test_points_have_one_decimal_where_that_is_asked_for():
    axis = Axis(label="change, points", decimals=1)
    assert [axis.shown(v, 3) for v in (0.00633, -0.04, -71.4321, 12.0)] == ["0.0", "0.0", "−71.4", "12.0"]
    assert Axis(label="accuracy, %", percent=True).shown(1e308) == "–"


def test_what_has_no_place_on_paper_is_refused():
    with pytest.raises(ValueError, match="a chart of a reaches from"):
        Axis(label="a").placed([-1e308, 1e308], 0, 100)


def test_ticks_are_round_and_their_texts_say_where_they_are():
    placed = Axis(label="accuracy", percent=True).placed([0.31, 0.87], 0, 100)
    for place, text in placed.ticks:
        assert place == pytest.approx(placed(float(text) / 100))
        assert float(text) % 10 == 0


@pytest.mark.parametrize("values", [(0.2, 0.97), (0.5, 0.52), (0.001, 0.999)])
@pytest.mark.parametrize("scale", ["logit", "probit"])
def test_ticks_of_accuracies_keep_their_distance(scale, values):
    ticks = Axis(label="", scale=scale, percent=True).placed(values, 0, 100).ticks
    assert len(ticks) >= 2
    assert min(np.diff([place for place, _ in ticks])) >= 12


def test_counts_have_whole_ticks_even_where_all_are_zero():
    assert [text for _, text in Axis(label="", whole=True, low=0).placed([0, 0], 0, 9).ticks] == ["0", "1"]
    assert [text for _, text in Axis(label="", whole=True).placed([0, 3], 0, 9).ticks] == ["0", "1", "2", "3"]


def test_decades():
    texts = [text for _, text in Axis(label="", scale="log").placed([1e-6, 1e-1], 0, 9).ticks]
    assert texts[0] == "10⁻⁶"
    assert "0.1" in texts


def test_what_has_no_place():
    assert not Axis(label="", scale="log").drawable(0)
    assert not Axis(label="", scale="logit").drawable(1)
    assert not Axis(label="").drawable(math.nan)
    assert not Axis(label="").drawable(math.inf)
    assert Axis(label="").drawable(-1)


def test_texts():
    assert Axis(label="", percent=True).shown(-0.1234) == "−12.34"
    assert Axis(label="").shown(math.nan) == "–"
    assert written("-1e-07") == "−10⁻⁷"


def test_another_scale():
    with pytest.raises(ValueError, match="'cubic'"):
        Axis(label="", scale="cubic")
