"""Tables and pictures of a diagnosis, from records alone."""

import dataclasses
import io
import math
import re

import numpy as np
import pytest
from diagnosis_data import NAN, calibration, diagnosed, diagnosis, skill, table_points
from PIL import Image
from rich.console import Console

from lightning_robust.report import print_calibration, print_diagnosis, write_diagnosis_figure
from lightning_robust.report.curves import curves_figure
from lightning_robust.report.diagnosis_figure import diagnosis_figure
from lightning_robust.report.diagnosis_words import figure_words, short_models, trust_sentences
from lightning_robust.results import CurveRow
from lightning_robust.results.diagnosis_record import read_diagnosis, write_diagnosis
from lightning_robust.results.diagnosis_sentence import points, verdict_sentence
from lightning_robust.robustness.diagnosis_predictors import PREDICTORS, RIVALS
from lightning_robust.robustness.reference_figures import REFERENCE_ONLY


def printed(show, record, folder="checkpoints/diagnose/001", width=80):
    out = io.StringIO()
    show(record, folder, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def flat(text):
    return re.sub(r"\s+", " ", text)


def test_the_verdict_comes_first_then_reasons_what_it_is_made_of_and_how_far_to_trust_it():
    text = printed(print_diagnosis, diagnosis())
    parts = [
        "scenes-clip", "Probably robust: its effective robustness is predicted at +31 points [18, 44] (90 % interval).",
        "• all of the interval is above 0", "What the prediction is made of", "Distance from the table 0.8",
        "How far to trust it", "52 of 60 rows whose family they had not seen (76 to 93 %)",
        "11 of 12 families by one row of each",
        "The best simple rival, mean confidence alone, reaches 0.50 [0.40, 0.60]", "the diagnosis",
    ]  # fmt: skip
    places = [flat(text).find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("width", [80, 60, 160])
def test_no_line_is_wider_than_the_terminal(width):
    many = [diagnosed(f"runs/{k}/wise_ft/alpha=0.{k}0.safetensors", "undetermined") for k in range(9)]
    for text in (
        printed(print_diagnosis, diagnosis(), width=width),
        printed(print_diagnosis, diagnosis(*many, diagnosed()), width=width),
        printed(print_calibration, calibration(), width=width),
    ):
        lines = [line for line in text.splitlines() if not line.startswith(("runs/", "Everything:"))]
        assert max(map(len, lines)) <= width


def test_what_a_figure_adds_stands_in_points_the_largest_first_and_marked_where_it_is_outside():
    text = printed(print_diagnosis, diagnosis(diagnosed(outside=("rankme/h",))))
    rows = [line.split() for line in text.splitlines() if re.match(r" (kurtosis|RankMe|mean conf|reference acc)", line)]
    adds = [row[-1] for row in rows]
    assert adds[:3] == ["+8.0", "−4.0", "+2.7"]
    sizes = [abs(float(one.replace("−", "-"))) for one in adds[:5]]
    assert sizes == sorted(sizes, reverse=True)
    (rankme,) = [row for row in rows if row[0] == "RankMe"]
    assert rankme[-2] == "1.5!"
    table = [point.figures["rankme/h"] for point in table_points()]
    assert rankme[3:6] == [f"{min(table):.3g}", "to", f"{max(table):.3g}"]


def test_reasons_are_in_words_and_do_not_say_the_prediction_twice():
    reasons = (
        "Predicted effective robustness: +31.0 points.",
        "Outside the table's range: kurtosis/last/width_adjusted is 9, and kurtosis/h is not.",
    )
    text = flat(printed(print_diagnosis, diagnosis(diagnosed(reasons=reasons))))
    assert "Predicted effective robustness:" not in text
    assert "range: kurtosis of the last layer (1: Gaussian) is 9, and kurtosis of h is not." in text


def test_of_several_models_an_overview_comes_first():
    models = [
        diagnosed("runs/a/wise_ft/alpha=0.00.safetensors"),
        diagnosed("runs/a/wise_ft/alpha=1.00.safetensors", "not robust", predicted=-0.02, low=-0.05, high=0.01),
        diagnosed("x", "undetermined", predicted=NAN, low=NAN, high=NAN, distance=NAN, contributions={}),
        diagnosed("y", "undetermined", low=-math.inf, high=math.inf),
    ]
    lines = printed(print_diagnosis, diagnosis(*models)).splitlines()
    rows = [line.split() for line in lines[:8]]
    assert ["α", "=", "0.00", "robust", "+31", "[+18,", "+44]", "0.8", "(2.1)"] in rows
    assert ["α", "=", "1.00", "not", "robust", "−2", "[−5,", "+1]", "0.8", "(2.1)"] in rows
    assert ["x", "undetermined", "–", "–"] in rows
    assert ["y", "undetermined", "+31", "[−∞,", "+∞]", "0.8", "(2.1)"] in rows
    assert "Undetermined: its effective robustness cannot be predicted." in lines


def test_a_rival_that_does_as_well_is_said_and_so_is_a_table_that_cannot_be_used():
    rivals = [skill("confidence/accuracy", "rival", 0.9)]
    said = list(trust_sentences(skill(), rivals))
    assert said[-1] == (
        "The simplest rival does as well or better: reference accuracy alone reaches 0.90, so the diagnosis adds "
        "nothing to it here."
    )
    unusable = calibration(usable=False, reasons=("The table has 8 families; below 10 no verdict is given.",))
    text = flat(printed(print_calibration, unusable))
    assert "Not usable: every verdict is undetermined. • The table has 8 families" in text
    assert "Left out: random (random weights)." in text


def test_skills_without_coverage_or_correlation_have_dashes():
    from lightning_robust.results import Interval

    none = Interval(NAN, NAN, NAN, level=0.95, replicates=2000, seed=0)
    lacking = skill("weights/alpha", "rival", 0.1, covered=None)
    lacking = type(lacking)(**(vars(lacking) | {"within_families": none}))
    text = printed(print_calibration, calibration(skills=(skill(), lacking)), width=160)
    (row,) = [line for line in text.splitlines() if line.startswith(" WeightWatcher")]
    assert row.count("–") == 3


def test_markup_and_odd_characters_of_names_are_printed_as_they_are():
    text = printed(print_diagnosis, diagnosis(diagnosed("runs/[bold]x[/]/last.ckpt")))
    assert "runs/[bold]x[/]/last.ckpt" in text


def test_every_figure_that_may_be_predicted_from_has_words_of_its_own():
    words = [figure_words(tag) for tag in REFERENCE_ONLY]
    assert {*PREDICTORS, *RIVALS} <= {*REFERENCE_ONLY}
    assert [tag for tag, word in zip(REFERENCE_ONLY, words, strict=True) if tag == word] == []
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.314, "+31"), (-0.3149, "−31"), (0.004, "0"), (-0.004, "0"), (math.inf, "+∞"), (-math.inf, "−∞"), (NAN, "–")],
)
def test_points(value, said):
    assert points(value) == said


def test_the_sentence_says_probably_only_where_there_is_a_verdict():
    starts = {v: verdict_sentence(diagnosed(verdict=v)).split(":")[0] for v in ("robust", "not robust", "undetermined")}
    assert starts == {"robust": "Probably robust", "not robust": "Probably not robust", "undetermined": "Undetermined"}
    assert "interval)" not in verdict_sentence(diagnosed())


def test_a_model_unlike_the_table_is_not_said_to_be_predicted():
    said = verdict_sentence(diagnosed(verdict="undetermined", distance=3.0, farthest=2.1), 0.9)
    assert said == ("Undetermined: it is unlike the table, which would predict +31 points [18, 44] (90 % interval).")


def test_short_names_stay_apart():
    names = [
        "a/wise_ft/alpha=0.50.safetensors",
        "b/wise_ft/alpha=0.50.safetensors",
        "x" * 60 + "1",
        "y" + "x" * 60 + "1",
    ]
    short = short_models(names)
    assert len(set(short)) == 4
    assert max(map(len, short)) < 40


def drawn(axes, kind):
    (line,) = [line for line in axes.lines if line.get_label() == kind]
    return np.column_stack([line.get_xdata(), line.get_ydata()])


def test_the_figure_has_every_row_where_it_was_predicted_and_measured():
    record = diagnosis(diagnosed(), diagnosed("x", "undetermined", predicted=0.05, low=-math.inf, high=math.inf))
    table, models = diagnosis_figure(record).axes
    for kind in ("zero-shot", "interpolated", "finetuned", "supervised"):
        own = [(100 * p.predicted, 100 * p.target) for p in record.points if p.kind == kind]
        np.testing.assert_allclose(drawn(table, kind), own)
    assert [tick.get_text() for tick in models.get_yticklabels()] == ["scenes-clip", "x"]
    marks = [line for line in models.lines if line.get_marker() == "D"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in marks], [31, 5])
    spans = [line.get_xdata() for line in models.lines if len(line.get_xdata()) == 2 and line.get_marker() == "None"]
    assert any(np.allclose(span, [18, 44]) for span in spans)
    assert {text.get_text() for text in models.texts} == {"robust", "undetermined"}


def test_the_figure_shows_the_margin_that_verdicts_are_judged_by():
    def dotted(axes):
        return [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == ":"]

    axes = diagnosis_figure(diagnosis(diagnosed(), margin=0.07)).axes[1]
    assert dotted(axes) == [[pytest.approx(7)] * 2]
    assert axes.get_title() == "diagnosed models (0: a standard model, dotted: +7.0 by chance)"
    assert dotted(diagnosis_figure(diagnosis(diagnosed())).axes[1]) == []


def test_rows_whose_robustness_is_an_extrapolation_are_told_of():
    rows = tuple(dataclasses.replace(row, extrapolated=k < 5) for k, row in enumerate(diagnosis().points))
    said = f"The effective robustness of 5 of its {len(rows)} rows is an extrapolation"
    assert said in flat(printed(print_diagnosis, diagnosis(diagnosed(), points=rows)))
    assert "extrapolation" not in printed(print_diagnosis, diagnosis(diagnosed()))


def test_without_models_or_without_predictions_the_figure_is_drawn_too(tmp_path):
    assert len(diagnosis_figure(calibration()).axes) == 1
    nothing = diagnosed(predicted=NAN, low=NAN, high=NAN, distance=NAN, verdict="undetermined")
    _, models = diagnosis_figure(diagnosis(nothing, points=())).axes
    assert [text.get_text().strip() for text in models.texts] == ["not predicted"]
    many = [diagnosed(f"model {k}") for k in range(30)]
    assert len(diagnosis_figure(diagnosis(*many)).axes[1].get_yticks()) == 24
    file = write_diagnosis_figure(diagnosis(), tmp_path)
    with Image.open(file) as picture:
        assert picture.size[0] > 800
    assert [one.name for one in tmp_path.iterdir()] == ["diagnosis.png"]


def test_a_record_survives_its_file_with_what_is_not_defined_or_infinite(tmp_path):
    record = diagnosis(diagnosed(predicted=NAN, low=-math.inf, high=math.inf, verdict="undetermined"))
    write_diagnosis(record, tmp_path / "results.json")
    again = read_diagnosis(tmp_path / "results.json")
    assert (again.models[0].low, again.models[0].high) == (-math.inf, math.inf)
    assert math.isnan(again.models[0].predicted)
    assert printed(print_diagnosis, again) == printed(print_diagnosis, record)


def curve_rows(tags):
    return [CurveRow(epoch, 10 * epoch, tag, value + 0.01 * epoch) for epoch in range(3) for tag, value in tags.items()]


def test_the_picture_of_a_run_has_the_prediction_beside_what_was_measured(tmp_path, monkeypatch):
    seen = []

    def kept(figure, path, **_):
        seen.append(figure)
        path.touch()

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", kept)
    predicted = {"diagnosis/er/predicted": 0.2, "diagnosis/er/low": 0.1, "diagnosis/er/high": 0.3}
    curves_figure(
        curve_rows({"val/reference/accuracy": 0.5, "er/mean": 0.1, "er/sketch": 0.1} | predicted), tmp_path / "a"
    )
    curves_figure(curve_rows({"val/reference/accuracy": 0.5} | predicted), tmp_path / "b")
    curves_figure(curve_rows({"val/reference/accuracy": 0.5}), tmp_path / "c")
    both, alone, neither = seen
    (axes,) = [axes for axes in both.axes if axes.get_title() == "effective robustness, points"]
    np.testing.assert_allclose(drawn(axes, "predicted without shifts"), [[0, 20], [1, 21], [2, 22]])
    np.testing.assert_allclose(drawn(axes, "mean"), [[0, 10], [1, 11], [2, 12]])
    assert len(axes.collections) == 1  # the band of the prediction
    assert (len(both.axes), len(alone.axes), len(neither.axes)) == (8, 7, 6)
    (axes,) = [axes for axes in alone.axes if axes.get_title() == "effective robustness, points"]
    np.testing.assert_allclose(drawn(axes, "predicted without shifts")[:, 1], [20, 21, 22])
