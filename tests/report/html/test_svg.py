"""Charts: what is drawn stands where the data say, and its numbers stand beneath."""

import math
import re

import numpy as np
import pytest
from page_data import HOSTILE, Parsed

from lightning_robust.report.html.axis import Axis
from lightning_robust.report.html.bars import Bar, bars
from lightning_robust.report.html.svg import MOST_ROWS, Series, chart

X, Y = Axis(label="epoch", low=0, high=4), Axis(label="kurtosis", low=0, high=10)


def drawn(*series, **options):
    made = chart("Kurtosis", X, Y, series, **options)
    parsed = Parsed(made)
    assert not parsed.problems
    return parsed


def points(text):
    return [tuple(float(v) for v in pair.split(",")) for pair in text.split()]


def test_a_line_stands_where_the_data_say():
    line = drawn(Series(name="a", x=[0, 1, 4], y=[0, 5, 10])).all("polyline")
    # the plot goes from 68 to 468 across and from 254 up to 12
    assert points(line[0]["points"]) == [(68, 254), (168, 133), (468, 12)]


def test_what_is_not_a_number_breaks_the_line_and_has_no_mark():
    parsed = drawn(Series(name="a", x=[0, 1, 2, 3, 4], y=[1, 2, math.nan, 4, 5]))
    assert [len(points(line["points"])) for line in parsed.all("polyline")] == [2, 2]
    assert len([one for one in parsed.all("circle") if "mark" in one["class"]]) == 4


def test_bands_and_whiskers():
    spans = {"low": [1, 2, 3], "high": [3, 4, 5]}
    band = drawn(Series(name="a", x=[0, 1, 2], y=[2, 3, 4], band=True, **spans)).all("polygon")
    assert len(points(band[0]["points"])) == 6
    assert points(band[0]["points"])[0] == pytest.approx((68, 254 - 24.2 * 3), abs=0.1)
    whiskers = [
        one
        for one in drawn(Series(name="a", x=[0, 1, 2], y=[2, 3, 4], **spans)).all("line")
        if "whisker" in one["class"]
    ]
    assert len(whiskers) == 3
    np.testing.assert_allclose(
        [float(whiskers[1][k]) for k in ("y1", "y2")], [254 - 24.2 * 2, 254 - 24.2 * 4], atol=0.1
    )


def test_every_mark_has_words_and_the_chart_is_named():
    parsed = drawn(Series(name=HOSTILE, x=[0], y=[7.29], low=[7], high=[8]), words="It is high.")
    assert f"{HOSTILE}: epoch 0, kurtosis 7.29 [7, 8]" in parsed.text
    svg = next(one for one in parsed.all("svg") if one["class"] == "chart")
    assert svg["role"] == "img"
    assert svg["aria-label"] == "Kurtosis. It is high."


def test_own_words_for_a_point():
    assert "the finetuned model" in drawn(Series(name="a", x=[0], y=[1], notes=["the finetuned model"])).text


def test_the_numbers_stand_in_a_table():
    parsed = drawn(Series(name="a", x=[0, 1], y=[2.5, 3.25]), Series(name="b", x=[1], y=[1], listed=False))
    made = str(chart("Kurtosis", X, Y, [Series(name="a", x=[0, 1], y=[2.5, 3.25])]))
    assert re.findall(r"<td>([^<]*)</td>", made) == ["0", "2.5", "1", "3.25"]
    assert "b" in parsed.text  # in the legend


def test_a_long_table_is_thinned_and_says_so():
    many = Series(name="a", x=list(range(1000)), y=list(range(1000)))
    made = str(chart("Many", Axis(label="x"), Axis(label="y"), [many]))
    assert made.count("<tr>") <= MOST_ROWS + 1
    assert "every 17. of 1,000" in made


def test_legend_only_where_it_tells_things_apart():
    assert "legend" not in str(chart("t", X, Y, [Series(name="a", x=[0], y=[1])]))
    assert str(chart("t", X, Y, [Series(name=n, x=[0], y=[1]) for n in "ab"])).count("<li>") == 2


def test_nothing_to_draw_is_still_a_chart():
    assert not drawn(Series(name="a", x=[], y=[])).all("polyline")


@pytest.mark.parametrize(
    "wrong",
    [{"y": [1]}, {"low": [1, 2]}, {"notes": ["one"]}, {"tone": 8}, {"shape": "star"}, {"low": [1], "high": [2]}],
)
def test_series_that_do_not_fit(wrong):
    with pytest.raises(ValueError, match=r"series 'a'|tone"):
        Series(**{"name": "a", "x": [0, 1], "y": [1, 2]} | wrong)


def test_bars_are_as_long_as_their_figures():
    made = bars("Concepts", Axis(label="n"), [Bar(name="a", value=8, low=7, high=9), Bar(name="b", value=4, tone=2)])
    parsed = Parsed(made)
    assert not parsed.problems
    widths = [float(one["width"]) for one in parsed.all("rect")]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)  # places are written to a tenth
    assert "a: 8 [7, 9]" in parsed.text


def test_bars_on_both_sides_of_zero():
    parsed = Parsed(bars("t", Axis(label="n"), [Bar(name="a", value=5), Bar(name="b", value=-5)]))
    left, right = sorted(parsed.all("rect"), key=lambda one: float(one["x"]))
    assert float(left["x"]) + float(left["width"]) == pytest.approx(float(right["x"]), abs=0.1)


def test_a_bar_without_a_figure_is_a_dash():
    parsed = Parsed(bars("t", Axis(label="n"), [Bar(name="a", value=math.nan), Bar(name="b", value=1)]))
    assert len(parsed.all("rect")) == 1
    assert "–" in parsed.text


def test_bars_have_no_logarithm():
    with pytest.raises(ValueError, match="begin at zero"):
        bars("t", Axis(label="n", scale="log"), [Bar(name="a", value=1)])


def test_ticks_of_the_vertical_axis_do_not_reach_its_label_in_the_type_of_a_phone():
    drawn = str(
        chart("AP", Axis(label="epoch"), Axis(label="mean best AP"), [Series(name="a", x=[0, 1], y=[0.31, 0.45])])
    )
    ticks = re.findall(r'<text x="([\d.]+)"[^>]*class="tick end">([^<]*)<', drawn)
    assert "0.45" in [text for _, text in ticks]
    wide = 0.62 * 15  # of a digit, at 15 units
    assert all(float(x) - wide * len(text) > 14 + 0.5 * 15 for x, text in ticks)
