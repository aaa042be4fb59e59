"""Text in cards: what a Markdown reader makes of it is what was written."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lightning_robust.report.card_words import code, escaped, fenced, one_line, points, slug, table

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
NASTY = st.text(st.sampled_from("\\`*_{}[]()<>#+-.!|~&$:@/=\n\t 1a&;"), max_size=12)


def shown(markdown):
    """The text of what a reader makes, and the tags in it."""
    page = READER.render(markdown)
    return html.unescape(re.sub(r"<[^>]*>", "", page)).strip("\n"), re.findall(r"<(\w+)", page)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "**bold** _it_ ~~gone~~ `code`",
        "[link](http://x) ![i](j) http://example.com www.example.com a@b.c",
        "# heading",
        "- item",
        "+ item",
        "1. item",
        "12) item",
        "---",
        "=",
        "&lt;b&gt; &amp;",
        "a | b",
        "back\\slash",
        "$x$ :heart: class:star",
        "style:painting 17:11:24 2026-11-26 3.11.7",
    ],
)
def test_a_reader_shows_what_was_written(text):
    assert shown(escaped(text)) == (text, ["p"])
    assert shown(f"- {escaped(text)}") == (f"\n{text}\n".strip("\n"), ["ul", "li"])


@given(NASTY)
def test_no_text_becomes_mark_up(text):
    found, tags = shown(f"x {escaped(text)}")
    assert found.split() == ["x", *one_line(text).split()]
    assert tags == ["p"]


@given(NASTY, NASTY)
def test_a_table_keeps_its_cells(first, second):
    page = READER.render(table(("a", "b"), [(escaped(first) or "-", code(second))]))
    assert len(re.findall("<td", page)) == 2
    assert not re.findall(r"<(?!/?(?:table|thead|tbody|tr|th|td|code)\b)", page)


def test_figures_and_identifiers():
    assert points(0.0123) == "+1.23"
    assert points(float("nan")) == "–"
    assert slug("Größe: 10 % – a__b") == "groe-10-a-b"
    assert slug("…") == "unnamed"
    assert len(slug("a" * 500)) == 96


def test_a_fence_is_longer_than_what_it_holds():
    text = fenced("a = '```'\n```")
    assert shown(text)[1] == ["pre", "code"]
    assert text.startswith("````python\n")
