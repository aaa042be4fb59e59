"""The verdict says what the intervals say."""

import dataclasses

import pytest
from page_data import (
    BASELINE,
    IMAGES,
    MODELS,
    H,
    Parsed,
    alpha_row,
    curve_rows,
    evaluated,
    evaluation_record,
    probe_record,
    run_record,
)
from study_data import made_up

from lightning_robust.report.html import Found, Sources, sections_study
from lightning_robust.report.html.sections_verdict import section
from lightning_robust.report.html.verdict_words import standing
from lightning_robust.results import Interval, write_table
from lightning_robust.robustness.study_correlations import StudyCorrelation, correlation_rows


def of_run(tmp_path, record):
    return section(Sources(folder=tmp_path, runs=(Found(tmp_path, record),)))


def of_models(tmp_path, *models):
    return section(Sources(folder=tmp_path, evaluations=(Found(tmp_path, evaluation_record(*models)),)))


def points(value):
    return f"{100 * value:+.1f}".replace("-", "−")


def test_a_finetuned_model_with_its_figures(tmp_path):
    record = run_record()
    made = of_run(tmp_path, record)
    mean, before = (record.wise_ft[k].effective_robustness.mean for k in (-1, 0))
    assert mean.prediction.low > 0
    assert made.lead == (
        "After finetuning the model is still more robust than a standard model: "
        f"{points(mean.estimate)} points of effective robustness (95 % interval {points(mean.prediction.low)} to "
        f"{points(mean.prediction.high)}), against {points(before.estimate)} before it."
    )
    text = Parsed(made.body).text
    assert "accuracy on the reference80.0 %60.0 % before finetuning" in text
    assert "on the shifts by −10.0 points in the mean (95 %: −15.0 to −5.0)" in text.replace(
        "−10.0 in", "−10.0 points in"
    )
    assert "α* of the Wise-FT path0.570.0 % on the reference, 62.5 % on the shifts" in text
    assert f"Signatures of what the head reads ({H}), α = 0 to 1" in text


def test_gaining_is_no_keeping(tmp_path):
    rows = (alpha_row(0.0, sketch=0.45), dataclasses.replace(alpha_row(0.0, sketch=0.7), alpha=1.0))
    lead = of_run(tmp_path, run_record(wise_ft=rows, choice=None)).lead
    assert "the model is more robust than a standard model" in lead


@pytest.mark.parametrize(
    ("sketch", "words"),
    [(0.7, "one is more robust than"), (0.32, "one is not told apart from"), (0.02, "one is less robust than")],
)
def test_one_model(tmp_path, sketch, words):
    made = of_models(tmp_path, evaluated("one", sketch=sketch))
    assert made.lead.startswith(f"{words} a standard model: ")


def test_several_models_are_counted(tmp_path):
    models = [evaluated("low", sketch=0.32), evaluated("high", sketch=0.7), evaluated("mid", sketch=0.6)]
    lead = of_models(tmp_path, *models).lead
    assert lead.startswith("2 of 3 models are more robust than a standard model; furthest above the line lies high ")


def test_the_figures_are_those_of_the_model_that_the_verdict_names(tmp_path):
    made = of_models(tmp_path, evaluated("high", sketch=0.7), evaluated("low", reference=0.78, sketch=0.32))
    assert made.lead.startswith("1 of 2 models is more robust than a standard model; furthest above the line lies high")
    text = Parsed(made.body).text
    assert "accuracy on the reference80.0 %high" in text
    assert "78.0 %" not in text
    best = evaluated("high", sketch=0.7).robustness.mean.estimate
    assert f"effective robustness, points{points(best)}" in text


def test_a_model_without_robustness_does_not_hide_that_of_others(tmp_path):
    models = [evaluated("bare", robust=False), evaluated("high", sketch=0.7), evaluated("bare too", robust=False)]
    lead = of_models(tmp_path, *models).lead
    assert lead.startswith("1 of 1 models is more robust")
    assert "lies high" in lead
    assert "undetermined" not in lead


def test_a_shift_on_which_the_model_is_like_any_other_is_named(tmp_path):
    mixed = BASELINE.effective_robustness(0.8, {"v2": 0.72, "sketch": 0.7}, IMAGES, replicates=200)
    assert mixed.mean.prediction.low > 0
    assert mixed.shifts["v2"].prediction.low < 0 < mixed.shifts["v2"].prediction.high
    made = of_models(tmp_path, dataclasses.replace(evaluated("one"), robustness=mixed))
    text = Parsed(made.body).text
    assert "not told apart from a standard model on v2; more robust than a standard model on sketch." in text


def test_extrapolation_is_said(tmp_path):
    assert "extrapolation" not in of_models(tmp_path, evaluated("one", reference=0.8)).lead
    assert "extrapolation" in of_models(tmp_path, evaluated("one", reference=0.95)).lead


def test_without_a_baseline_it_is_undetermined(tmp_path):
    lead = of_models(tmp_path, evaluated("one", robust=False)).lead
    assert lead.startswith("one is right on 80.0 % of the reference and 70.0 % in the mean over 2 shifts.")
    assert "undetermined" in lead


def test_without_replicates_there_is_no_verdict():
    bare = BASELINE.effective_robustness(0.8, {"v2": 0.7, "sketch": 0.7}, IMAGES, replicates=0)
    assert standing(bare.mean) == "of undetermined robustness"


def test_a_standard_model_is_not_told_apart(tmp_path):
    standard = MODELS[6]
    found = BASELINE.effective_robustness(standard.reference, standard.shifts, IMAGES, replicates=200)
    assert standing(found.mean) == "not told apart from a standard model"


def test_signatures_alone_give_none(tmp_path):
    made = section(Sources(folder=tmp_path, probes=(Found(tmp_path, probe_record()),)))
    assert made.lead.startswith("Robustness of scenes-clip is undetermined")
    assert "3.14" in made.lead


def test_a_training_that_was_not_tabulated_is_told_by_its_last_epoch(tmp_path):
    bare = run_record(wise_ft=(), choice=None)
    made = section(Sources(folder=tmp_path, runs=(Found(tmp_path, bare),), curves=(Found(tmp_path, curve_rows()),)))
    assert made.lead.startswith("After 3 epochs 75.0 % of the reference’s validation images are right, and 55.0 %")
    assert (
        "more robust than a standard model: +14.0 points of effective robustness (95 % interval +10.0 to" in made.lead
    )


def test_a_training_whose_reference_has_another_name(tmp_path):
    named = tuple(
        dataclasses.replace(row, tag=row.tag.replace("val/reference/", "val/photos/")) for row in curve_rows()
    )
    bare = run_record(wise_ft=(), choice=None)
    made = section(Sources(folder=tmp_path, runs=(Found(tmp_path, bare),), curves=(Found(tmp_path, named),)))
    assert made.lead.startswith("After 3 epochs 75.0 % of the reference’s validation images are right")


def _correlation(figure, scope, rho, low, high, p, families=12):
    said = Interval(rho, low, high, level=0.95, replicates=2000, seed=0)
    return StudyCorrelation(
        figure=figure, role="signature", scope=scope, given="", without_extrapolated=False, correlation=said,
        rows=families, families=families, extrapolated=0, p=p, p_holm=p,
    )  # fmt: skip


def test_a_study_says_which_signatures_follow_robustness_and_which_are_not_known_to(tmp_path):
    follows, not_known = "concepts/mean_best_ap", "importance/raw/max_over_median"
    rows = [
        _correlation(follows, "pretrained", 0.9, 0.7, 0.97, 0.01),
        _correlation(not_known, "pretrained", 0.8, 0.5, 0.9, 0.2),  # Holm's p is too large
        _correlation(follows, "paths", 0.9, 0.7, 0.97, 0.01, families=9),  # too few
    ]
    study = Found(tmp_path, made_up())
    found = Sources(folder=tmp_path, studies=(study,))
    bare = section(found).lead
    assert bare.endswith(" points.")
    write_table(tmp_path / "correlations.csv", correlation_rows(rows))
    lead = section(found).lead
    assert lead.startswith(bare.removesuffix("."))
    assert lead.endswith(
        ": between pretrained models of 2 signatures these follow it: mean best AP of concepts (higher); "
        "along Wise-FT paths undetermined, for 9 families are too few."
    )
    assert sections_study.section(found).lead == ""  # the verdict has said it
    judged = dataclasses.replace(found, runs=(Found(tmp_path / "run", run_record()),))
    assert sections_study.section(judged).lead == lead


def test_the_other_model_stands_beside(tmp_path):
    other = Sources(folder=tmp_path / "other", probes=(Found(tmp_path, probe_record("rival")),))
    made = section(Sources(folder=tmp_path, probes=(Found(tmp_path, probe_record()),), second=other))
    assert "other: Robustness of rival is undetermined" in Parsed(made.body).text


def test_nothing_at_all(tmp_path):
    assert section(Sources(folder=tmp_path)).lead.startswith("Undetermined")


def test_a_path_without_baseline_and_one_shift(tmp_path):
    rows = evaluated("runs/x/wise_ft/alpha=0.00.safetensors", robust=False).rows[:2]
    models = [
        dataclasses.replace(
            evaluated(f"runs/x/wise_ft/alpha={alpha:.2f}.safetensors", robust=False), alpha=alpha, rows=rows
        )
        for alpha in (0.0, 1.0)
    ]
    made = of_models(tmp_path, *models)
    assert made.lead.startswith("The model at α = 1 is right on 80.0 % of the reference and 70.0 % on the shift v2.")
    assert "accuracy on v270.0 %70.0 % before finetuning" in Parsed(made.body).text


def test_long_names_are_shortened(tmp_path):
    name = f"home/me/projects/robustness/{'x' * 40}/wise_ft/model.safetensors"
    assert of_models(tmp_path, evaluated(name)).lead.startswith("…/wise_ft/model.safetensors is more robust")
