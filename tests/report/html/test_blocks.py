"""What sections are built from."""

import base64
import math

import pytest
from markupsafe import Markup
from page_data import HOSTILE, Parsed

from lightning_robust.report.html.blocks import choices, facts, folded, number, percent, picture, table


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(0.5, False, "50.0"), (-0.0451, True, "−4.5"), (0.00001, True, "0.0"), (-0.00001, False, "0.0"),
     (math.nan, False, "–"), (None, True, "–"), (1.0, True, "+100.0")],
)  # fmt: skip
def test_percent(value, signed, text):
    assert percent(value, signed=signed) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (6.0, "6"), (3.001, "3.00"), (147.21, "147"), (12345.6, "12,346"), (1.2e-7, "1.20 × 10⁻⁷"),
     (math.inf, "–"), (None, "–"), (-2.5, "−2.50")],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text


def test_a_table_escapes_and_has_headings():
    parsed = Parsed(table(["", "ER"], [[HOSTILE, "1"]], caption=HOSTILE))
    assert not parsed.problems
    assert parsed.text.count(HOSTILE) == 2
    assert {one["scope"] for one in parsed.all("th")} == {"col", "row"}
    assert parsed.all("div")[0]["tabindex"] == "0"  # it scrolls: a keyboard has to get there


def test_a_row_that_does_not_fit():
    with pytest.raises(ValueError, match="2 columns got a row of 1"):
        table(["", "ER"], [["a"]], caption="")


def test_choices_of_several_and_of_one():
    one = ("a", Markup("<p>1</p>"))
    assert choices("Layer", [one]) == one[1]
    parsed = Parsed(choices(HOSTILE, [one, (HOSTILE, Markup("<p>2</p>"))]))
    assert [d["data-option"] for d in parsed.all("div") if "data-option" in d] == ["a", HOSTILE]
    assert parsed.all("h4")  # names are read without the script


def test_a_picture_lies_inside_the_page():
    source = Parsed(picture(b"\x89PNG", HOSTILE, width=3, height=4)).all("img")[0]
    assert base64.b64decode(source["src"].removeprefix("data:image/png;base64,")) == b"\x89PNG"
    assert source["alt"] == HOSTILE
    with pytest.raises(ValueError, match="'svg'"):
        picture(b"", "", width=1, height=1, kind="svg")


def test_facts_and_folded():
    parsed = Parsed(folded("more", facts([("a", HOSTILE)])))
    assert not parsed.problems
    assert parsed.text == f"morea{HOSTILE}"
    assert "open" not in parsed.all("details")[0]
