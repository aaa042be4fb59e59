"""Markup escapes everything that comes from data."""

import pytest
from markupsafe import Markup
from page_data import HOSTILE, Parsed

from lightning_robust.report.html import Section
from lightning_robust.report.html.markup import joined, tag


def test_text_and_attributes_come_back_as_they_were():
    parsed = Parsed(tag("p", HOSTILE, title=HOSTILE))
    assert parsed.elements == [("p", {"title": HOSTILE})]
    assert parsed.text == HOSTILE
    assert not parsed.problems


def test_markup_is_kept_and_none_left_out():
    assert tag("p", tag("b", "<"), None, "&") == Markup("<p><b>&lt;</b>&amp;</p>")
    assert joined(["<", None, tag("br")], between=" & ") == Markup("&lt; &amp; <br>")


def test_attributes():
    made = tag("td", class_="words", aria_label="a", hidden=True, title=None, open=False, x=1.50, viewBox="0 0 1 1")
    assert made == Markup('<td class="words" aria-label="a" hidden x="1.5" viewBox="0 0 1 1"></td>')


@pytest.mark.parametrize("name", ["style", "onclick", "onmouseover"])
def test_no_attribute_is_a_style_or_a_script(name):
    with pytest.raises(ValueError, match=f"no '{name}' attribute"):
        tag("p", **{name: "x"})


def test_void_elements():
    assert tag("img", alt="") == Markup('<img alt="">')
    assert tag("circle", r=4) == Markup('<circle r="4"/>')
    assert tag("circle", tag("title", "one"), r=4) == Markup('<circle r="4"><title>one</title></circle>')
    with pytest.raises(ValueError, match="no content"):
        tag("br", "text")


def test_a_section_has_an_anchor_and_markup():
    with pytest.raises(ValueError, match="'A b'"):
        Section(id="A b", title="", body=Markup())
    with pytest.raises(ValueError, match="plain text"):
        Section(id="a", title="", body="<b>")
