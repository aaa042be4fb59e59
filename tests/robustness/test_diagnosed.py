"""Diagnoses of models that a table has not seen: right ones, and those that may not be given."""

import dataclasses
import math

import pytest
from diagnosis_tables import MARGIN, PROVENANCE, TELLS, made_up_rows, study_of

from lightning_robust.robustness import FittedDiagnosis, diagnose_row, fit_calibration

FEW = (TELLS, "confidence/mean")


@pytest.fixture(scope="module")
def calibration():
    rows = made_up_rows(families=14, rows=3, tags=FEW)
    return fit_calibration(study_of(rows), FEW, provenance=PROVENANCE)


@pytest.fixture(scope="module")
def fitted(calibration):
    return FittedDiagnosis(calibration)


def at(place, **others):
    """Figures of a model whose robustness is ``0.1 + 0.08 · place``."""
    return {TELLS: math.exp(place), "confidence/mean": 1.0, **others}


@pytest.mark.parametrize(
    ("place", "verdict", "relation"),
    [
        (1.0, "robust", "lies above +4.0"),
        (-1.5, "not robust", "lies below +4.0"),
        (-0.75, "undetermined", "holds +4.0"),
    ],
)
def test_verdicts(fitted, place, verdict, relation):
    found = fitted.diagnose(at(place))
    assert found.verdict == verdict
    assert found.predicted == pytest.approx(0.1 + 0.08 * place, abs=0.015)
    assert found.low < 0.1 + 0.08 * place < found.high
    assert relation in found.reasons[1]
    assert (found.low > MARGIN, found.high < MARGIN) == (verdict == "robust", verdict == "not robust")


def test_verdicts_of_many_new_families_are_seldom_wrong(fitted):
    """Robust is what is above the margin; the verdict is wrong in no more than the share that an interval misses."""
    rows = made_up_rows(families=150, rows=1, seed=7, tags=FEW)
    said = [fitted.diagnose(row.figures).verdict for row in rows]
    wrong = sum(
        verdict != "undetermined" and (verdict == "robust") != (row.value("er/mean") > MARGIN)
        for verdict, row in zip(said, rows, strict=True)
    )
    assert wrong <= 7
    assert said.count("robust") > 60
    assert said.count("not robust") > 10


def test_contributions_add_up_to_the_prediction(calibration, fitted):
    means = {}
    for point in calibration.points:
        means.setdefault(point.family, []).append(point.target)
    over_families = sum(sum(targets) / len(targets) for targets in means.values()) / len(means)
    found = fitted.diagnose(at(0.7))
    assert list(found.contributions) == list(FEW)
    assert over_families + sum(found.contributions.values()) == pytest.approx(found.predicted, abs=1e-12)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({TELLS: 2.0}, "Not measured: confidence/mean."),
        ({TELLS: math.nan, "confidence/mean": 1.0}, f"Not defined for this model: {TELLS}."),
        ({TELLS: -2.0, "confidence/mean": 1.0}, f"Not defined for this model: {TELLS}."),
        ({TELLS: math.inf, "confidence/mean": 1.0}, f"Not defined for this model: {TELLS}."),
    ],
)
def test_without_a_figure_there_is_no_prediction(fitted, figures, said):
    found = fitted.diagnose(figures)
    assert found.verdict == "undetermined"
    assert found.reasons[0] == said
    assert all(math.isnan(value) for value in (found.predicted, found.low, found.high, found.distance))
    assert (found.contributions, found.outside) == ({}, ())


def test_a_model_unlike_the_table_is_undetermined_whatever_the_interval_says(fitted):
    found = fitted.diagnose(at(1.0, **{"confidence/mean": 60.0}))
    assert found.distance > found.farthest
    assert found.outside == ("confidence/mean",)
    assert found.verdict == "undetermined"
    assert any(reason.startswith("It is unlike the table") for reason in found.reasons)
    assert any(reason.startswith("Outside the table's range: confidence/mean is 60") for reason in found.reasons)
    near = fitted.diagnose(at(1.0))
    assert near.distance < near.farthest


def test_a_family_that_lies_apart_does_not_make_the_table_blind():
    rows = made_up_rows(families=25, rows=2, tags=FEW)
    rows += [
        dataclasses.replace(row, name=f"x{k}", family="x", checkpoint_hash=f"x{k}",
                            figures={**row.figures, "confidence/mean": 400.0})
        for k, row in enumerate(rows[:2])
    ]  # fmt: skip
    fitted = FittedDiagnosis(fit_calibration(study_of(rows), FEW, provenance=PROVENANCE))
    found = fitted.diagnose(at(9.0))
    assert found.verdict == "undetermined"
    assert any("where 90 % of what a family that was left out has lie at most" in reason for reason in found.reasons)
    assert not any(reason.startswith("It is unlike") for reason in fitted.diagnose(at(0.0)).reasons)


def test_other_figures_are_kept_and_not_read(fitted):
    more = fitted.diagnose(at(0.3, **{"weights/alpha": 3.0}))
    assert more.figures["weights/alpha"] == 3.0
    assert dataclasses.replace(more, figures={}) == dataclasses.replace(fitted.diagnose(at(0.3)), figures={})


def test_a_calibration_without_skill_is_refused(calibration):
    with pytest.raises(ValueError, match="made up holds no skill"):
        FittedDiagnosis(dataclasses.replace(calibration, skills=()))


def test_who_it_is(calibration):
    who = {"name": "mine", "origin": "a file", "checkpoint_hash": "abc", "family": "m01"}
    found = diagnose_row(calibration, at(0.0), **who)
    assert {key: getattr(found, key) for key in who} == who
    lacking = diagnose_row(calibration, {}, **who)
    assert {key: getattr(lacking, key) for key in who} == who
