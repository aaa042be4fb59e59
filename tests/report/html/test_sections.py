"""Accuracy, curves, spectra and provenance: the figures of the records, where the reader looks for them."""

import dataclasses
import re

import numpy as np
import pytest
from markupsafe import escape
from page_data import (
    BASELINE,
    BLOCK,
    HOSTILE,
    H,
    Parsed,
    curve_rows,
    evaluated,
    evaluation_folder,
    evaluation_record,
    probe_record,
    run_folder,
    run_record,
)

from lightning_robust.report.html import Found, Sources, find_sources
from lightning_robust.report.html import sections_accuracy as accuracy
from lightning_robust.report.html import sections_curves as curves
from lightning_robust.report.html import sections_provenance as provenance
from lightning_robust.report.html import sections_spectra as spectra
from lightning_robust.report.html.curve_tags import of_curves, of_path
from lightning_robust.report.html.judged import judged_groups
from lightning_robust.report.html.scatter_panels import baseline_of
from lightning_robust.results import Difference, Interval
from lightning_robust.robustness import wilson_interval


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return find_sources(run_folder(tmp_path_factory.mktemp("runs") / "finetune" / "001"))


def cells(made, row):
    """The cells of the first table row with a heading."""
    [found] = re.findall(rf'<tr><th scope="row" class="words">{re.escape(escape(row))}</th>(.*?)</tr>', str(made))[:1]
    return [re.sub("<.*?>", " ", cell).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", found)]


def options(made):
    return [one["data-option"] for one in Parsed(made).all("div") if "data-option" in one]


def test_tables_of_a_path_have_its_figures(run):
    body = accuracy.section(run).body
    low, high = wilson_interval(800, 1000)
    assert cells(body, "α = 1")[:1] == [f"80.0 {100 * low:.1f}–{100 * high:.1f}"]
    assert not Parsed(body).problems


def test_many_models_have_their_intervals_in_words(tmp_path):
    models = [evaluated(f"m{k}") for k in range(5)]
    body = accuracy.section(Sources(folder=tmp_path, evaluations=(Found(tmp_path, evaluation_record(*models)),))).body
    assert cells(body, "m3") == ["80.0", "70.0", "70.0", "70.0"]
    assert 'title="sketch: 95 % interval 67.0 to 73.0 %"' in body


def test_the_scatter_has_a_panel_for_the_mean_and_each_shift(run):
    body = accuracy.section(run).body
    assert options(body)[:3] == ["mean of the shifts", "v2", "sketch"]
    words = Parsed(body).text
    first = BASELINE.models[0]
    assert f"{first.name}, a standard model: reference 40.0 %, shift 16.0 %" in words


def test_a_baseline_that_says_something_else_is_not_drawn(tmp_path, run):
    group = judged_groups(run)[0]
    assert baseline_of(run, group) is not None
    row = run.runs[0].record.wise_ft[0]
    shifted = dataclasses.replace(
        row.effective_robustness,
        shifts={
            n: dataclasses.replace(s, expected=s.expected + 0.1) for n, s in row.effective_robustness.shifts.items()
        },
    )
    record = run_record(wise_ft=(dataclasses.replace(row, effective_robustness=shifted),))
    other = dataclasses.replace(run, runs=(Found(run.folder, record),))
    assert baseline_of(other, judged_groups(other)[0]) is None
    assert "cannot be drawn" in accuracy.section(other).body


def test_an_evaluation_beside_a_run_borrows_its_baseline(tmp_path):
    run_folder(tmp_path / "finetune" / "001")
    evaluation_folder(tmp_path / "evaluate" / "001")
    found = find_sources(tmp_path / "finetune" / "001", below=tmp_path)
    groups = judged_groups(found)
    assert [group.words.split()[0] for group in groups] == ["Wise-FT", "evaluation"]
    assert baseline_of(found, groups[1]) is not None


def test_differences_between_models(tmp_path):
    interval = Interval(-0.05, -0.07, -0.03, 0.95, 2000, 0)
    models = (evaluated("one"), evaluated(HOSTILE, sketch=0.6))
    record = dataclasses.replace(
        evaluation_record(*models),
        differences=(Difference(set="shifts", model=HOSTILE, other="one", interval=interval),),
    )
    body = accuracy.section(Sources(folder=tmp_path, evaluations=(Found(tmp_path, record),))).body
    assert f"{HOSTILE} − onemean of shifts−5.0−7.0 to −3.0" in Parsed(body).text


def test_figures_of_curves_by_layer():
    measured = of_curves(curve_rows())
    assert measured.layers == [H, BLOCK]
    assert measured.weights == ["model.head.weight"]
    np.testing.assert_allclose(measured.of(f"kurtosis/{H}"), [3.2, 3.1, 3.0, 2.9])
    assert measured.untrained == {f"kurtosis/{H}": 2.9}
    assert not measured.known(f"outliers/{H}/features")
    path = of_path(run_record().wise_ft, {f"kurtosis/{H}": 2.9})
    assert path.places == (0.0, 0.5, 1.0)
    np.testing.assert_allclose(path.of(f"kurtosis/{BLOCK}"), [7.0, 7.5, 8.0])


def test_curves_have_a_selector_of_layers(run):
    made = curves.section(run)
    assert options(made.body).count("visual.layer4") == 2  # while training, and along the path
    assert options(made.body)[0] == "visual"
    assert made.lead == f"Kurtosis of {H} went from 3.20 to 2.90 in 3 epochs; untrained it is 2.90."
    assert not Parsed(made.body).problems


def test_a_figure_that_was_never_defined_has_no_chart(run):
    body = str(curves.section(run).body)
    first = body[body.index('data-option="visual"') : body.index('data-option="visual.layer4"')]
    assert "Outlier features" not in first
    assert "Outlier features" in body


def test_spectra_of_a_probed_model(tmp_path):
    made = spectra.section(Sources(folder=tmp_path, probes=(Found(tmp_path, probe_record(HOSTILE)),)))
    assert options(made.body) == ["visual", "visual.layer4"]
    assert cells(made.body, "visual")[:2] == ["128 features", "3.14"]
    assert cells(made.body, f"{HOSTILE}, raw head")[1:3] == ["149", "6"]
    assert "6 directions of the raw head are privileged, 4 of the centred one" in made.lead
    assert "encoder.visual.layer4, 2.43 times" in made.lead
    assert not Parsed(made.body).problems


def test_the_rule_of_privileged_directions_is_ten_medians(tmp_path):
    body = str(spectra.section(Sources(folder=tmp_path, probes=(Found(tmp_path, probe_record()),))).body)
    chart = body[body.index("Importance of the head’s directions") :]
    [rule] = re.findall(r'<line x1="[\d.]+" x2="[\d.]+" y1="([\d.]+)" y2="[\d.]+" class="rule"/>', chart)
    marks = re.findall(r'cy="([\d.]+)" r="4" class="mark tone-1"><title>', chart)
    heights = sorted(float(one) for one in marks)[:2]  # 0.5 and 0.02, with a rule at 10 · 0.015
    assert heights[0] < float(rule) < heights[1]
    share = (float(rule) - heights[0]) / (heights[1] - heights[0])
    assert share == pytest.approx(np.log(0.5 / 0.15) / np.log(0.5 / 0.02), abs=0.02)


def test_provenance_tells_where_figures_come_from(run):
    text = Parsed(provenance.section(run).body).text
    for word in (
        "everything 0",
        "torch",
        "a" * 64,
        "made up: 12 models",
        "top-1",
        "2026-11-26T10:00:00",
        "max_epochs: 3",
    ):
        assert word in text, word
    assert HOSTILE in text


def test_files_that_could_not_be_read_are_listed(run, tmp_path):
    found = dataclasses.replace(run, skipped=((tmp_path / "x", "broken"),))
    assert f"{tmp_path / 'x'}: broken" in Parsed(provenance.section(found).body).text


def test_sections_without_results(tmp_path):
    nothing = Sources(folder=tmp_path)
    assert accuracy.section(nothing) is None
    assert curves.section(nothing) is None
    assert spectra.section(nothing) is None
