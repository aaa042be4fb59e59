"""The page as a whole: it stands alone, lets nothing else run, and shows data as text."""

import base64
import dataclasses
import hashlib
import re
from importlib.resources import files

import pytest
from markupsafe import Markup
from page_data import HOSTILE, Parsed, evaluation_folder, probe_folder, run_folder

from lightning_robust.errors import UserError
from lightning_robust.report.html import Section, Sources, find_sources
from lightning_robust.report.html.markup import tag
from lightning_robust.report.html.page import LARGEST, page_of, render, write_page

STYLE = (files("lightning_robust.report.html") / "page.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    run = run_folder(root / "finetune" / HOSTILE.replace("/", "∕"))
    evaluation_folder(root / "evaluate" / "001")
    probe_folder(root / "probe" / "001")
    return find_sources(run, below=root)


@pytest.fixture(scope="module")
def page(found):
    return page_of(found)


def test_every_element_is_closed(page):
    assert not Parsed(page).problems


def test_the_policy_lets_the_pages_own_style_and_script_run_and_nothing_else(page):
    parsed = Parsed(page)
    policy = next(m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    for name, directive in (("style", "style-src"), ("script", "script-src")):
        [inside] = re.findall(rf"<{name}>(.*?)</{name}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not any("style" in attrs or any(key.startswith("on") for key in attrs) for _, attrs in parsed.elements)


def test_nothing_is_loaded_from_elsewhere(page):
    for name, attrs in Parsed(page).elements:
        assert name not in ("link", "iframe", "object", "base"), name
        for key in ("src", "href", "xlink:href", "srcset"):
            if key in attrs:
                assert attrs[key].startswith(("#", "data:image/")), (name, attrs[key])
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_text_from_data_is_shown_as_text(page):
    assert page.count("<script>") == 1
    assert "alert" in page
    assert HOSTILE in Parsed(page).text
    assert HOSTILE not in page


def test_no_character_breaks_the_encoding_or_turns_the_order_of_reading(tmp_path):
    odd = "a\ud800b\x00c\u202ed\u2067e\x9bf"
    page = render(odd, odd, [Section(id="one", title=odd, body=tag("p", odd, title=odd), lead=odd)])
    assert "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf" in page
    assert not set(page) & set(odd) - set("abcdef")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    assert "\t\n ä → −é" in render("\t\n ä → −é", "", [])


def test_figures_that_no_measurement_gives_are_refused_in_a_sentence(found):
    run = found.runs[0]
    row = run.record.wise_ft[-1]
    broken = dataclasses.replace(row, shifts=dict.fromkeys(row.shifts, 1e308))
    record = dataclasses.replace(run.record, wise_ft=(*run.record.wise_ft[:-1], broken))
    with pytest.raises(UserError, match="the page's part on verdict cannot show"):
        page_of(dataclasses.replace(found, runs=(dataclasses.replace(run, record=record),)))


def test_headings_and_navigation(page):
    parsed = Parsed(page)
    sections = [one["id"] for one in parsed.all("section")]
    assert sections[0] == "verdict"
    assert sections[-1] == "provenance"
    assert [one["href"][1:] for one in parsed.all("a") if one["href"] != "#content"] == sections
    ids = [attrs["id"] for _, attrs in parsed.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert len(parsed.all("h1")) == 1
    assert parsed.all("html")[0]["lang"] == "en"


def test_charts_are_named_and_pictures_described(page):
    parsed = Parsed(page)
    charts = [one for one in parsed.all("svg") if one["class"] == "chart"]
    assert len(charts) > 10
    assert all(one["role"] == "img" and one["aria-label"] for one in charts)
    assert all("alt" in one for one in parsed.all("img"))


def test_it_is_small_and_the_same_each_time(found, page, tmp_path):
    assert write_page(found, tmp_path / "page.html") == len(page.encode()) < LARGEST
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page


def test_nothing_is_hidden_without_the_script(page):
    assert not any("hidden" in attrs for _, attrs in Parsed(page).elements)


def test_two_sections_of_one_id():
    one = Section(id="a", title="A", body=Markup())
    with pytest.raises(ValueError, match="an id of its own"):
        render("t", "", [one, one])


def test_nothing_is_written_where_the_folder_is_missing(found, tmp_path):
    with pytest.raises(FileNotFoundError):
        write_page(found, tmp_path / "none" / "page.html")


def test_a_folder_without_any_record(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_robust.report.html.sections.SECTIONS", ())
    with pytest.raises(UserError, match="nothing to show"):
        page_of(Sources(folder=tmp_path))


def _colours(scheme):
    """The custom properties of the light or the dark page."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, flags=re.DOTALL)[:2]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark)) if scheme == "dark" else {})


def _luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a, b):
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_that_of_wcag_aa(scheme):
    colours = _colours(scheme)
    assert len(colours) >= 18
    for ground in ("ground", "raised", "shade"):
        for text in ("text", "muted", "accent", "good", "bad"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for tone in range(8):  # graphics need 3
        assert _contrast(colours[f"tone-{tone}"], colours["ground"]) >= 3, tone
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
