"""Calibrations on tables whose relation is known: found, not found, turned round inside families."""

import dataclasses
import math

import numpy as np
import pytest
from diagnosis_tables import MARGIN, PROVENANCE, TELLS, made_up_rows, study_of
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lightning_robust.results.diagnosis_record import read_calibration, write_calibration
from lightning_robust.robustness import FittedDiagnosis, diagnose_row, fit_calibration, without_family
from lightning_robust.robustness.diagnosis_predictors import PREDICTORS, RIVALS

FEW = (TELLS, "confidence/mean", "confidence/accuracy")


def calibration(rows, figures=(TELLS, "confidence/mean"), **settings):
    return fit_calibration(study_of(rows), figures, provenance=PROVENANCE, **settings)


@pytest.fixture(scope="module")
def known():
    """Twelve families of four rows whose robustness follows `TELLS` between families and inside them."""
    return calibration(made_up_rows(families=12, tags=FEW))


def test_a_relation_that_is_there_is_found(known):
    skill = known.skills[0]
    assert (skill.name, skill.role, skill.figures) == ("diagnosis", "diagnosis", (TELLS, "confidence/mean"))
    assert (skill.rows, skill.families) == (48, 12)
    assert skill.correlation.low > 0.8
    assert skill.r_squared > 0.9
    assert skill.between_families.low > 0.8
    assert skill.within_families.low > 0.7
    assert skill.pretrained.low > 0.7
    assert known.usable
    assert known.reasons == ()
    assert known.margin == pytest.approx(MARGIN)


def test_rivals_and_single_figures_go_through_the_same_code(known):
    alone = {skill.name: skill for skill in known.skills[1:]}
    assert {name: skill.role for name, skill in alone.items()} == {
        "confidence/accuracy": "rival", "confidence/mean": "rival", TELLS: "single figure",
    }  # fmt: skip
    assert alone[TELLS].correlation.estimate > 0.95
    for tag in ("confidence/accuracy", "confidence/mean"):
        assert alone[tag].r_squared < 0.2
        assert not alone[tag].correlation.low > 0
    single = calibration(made_up_rows(families=12, tags=FEW), (TELLS,)).skills[0]
    assert dataclasses.replace(single, name=TELLS, role="single figure") == alone[TELLS]


def test_no_relation_gives_no_verdict_over_many_tables():
    """At 2.5 % of an interval's side, and below it, as a mean of the others goes against what was left out."""
    usable = 0
    for seed in range(25):
        rows = made_up_rows(families=12, rows=2, between=0.0, within=0.0, noise=0.05, seed=seed, tags=(TELLS,))
        found = calibration(rows, (TELLS,))
        usable += found.usable
        assert found.usable or "Predictions without the own family do not rank" in found.reasons[0]
    assert usable <= 2


def test_below_ten_families_nothing_is_said_whatever_the_relation():
    for families, usable in ((9, False), (10, True)):
        rows = made_up_rows(families=families, noise=0.002, tags=FEW)
        found = calibration(rows)
        assert found.usable is usable
        assert found.skills[0].correlation.low > 0.8
        model = diagnose_row(found, rows[0].figures)
        assert (model.verdict == "undetermined") is not usable
        assert ("The table has 9 families; below 10 no verdict is given." in model.reasons) is not usable


def test_inside_families_the_other_way_round_is_told_apart():
    rows = made_up_rows(families=14, between=0.1, within=-0.06, tags=FEW)
    found = calibration(rows)
    skill = found.skills[0]
    assert skill.between_families.low > 0.3
    assert skill.within_families.high < -0.3
    assert any(reason.startswith("Inside a family it ranks the wrong way round") for reason in found.reasons)


def test_between_families_alone_and_inside_alone_are_told_apart():
    inside = calibration(made_up_rows(families=14, between=0.0, within=0.1, tags=FEW)).skills[0]
    between = calibration(made_up_rows(families=14, between=0.1, within=0.0, noise=0.02, tags=FEW)).skills[0]
    assert inside.within_families.low > 0.5 > between.within_families.high
    assert between.between_families.low > 0.5


def test_the_order_of_rows_does_not_matter(known):
    rows = made_up_rows(families=12, tags=FEW)
    order = np.random.default_rng(0).permutation(len(rows))
    assert calibration([rows[k] for k in order]) == known


def test_the_units_of_figures_do_not_matter(known):
    rows = made_up_rows(families=12, tags=FEW)
    other = calibration([with_figures(row, {TELLS: 1e5 * row.value(TELLS), "confidence/mean": 100 * row.value("confidence/mean") - 7}) for row in rows])  # fmt: skip  # noqa: E501
    for mine, theirs in zip(known.points, other.points, strict=True):
        assert (theirs.predicted, theirs.low, theirs.high) == pytest.approx((mine.predicted, mine.low, mine.high))
    assert other.penalty == known.penalty


def test_every_row_twice_changes_nothing(known):
    rows = made_up_rows(families=12, tags=FEW)
    twins = [dataclasses.replace(row, name=f"{row.name} again", checkpoint_hash="") for row in rows]
    twice = calibration([*rows, *twins])
    assert len(twice.points) == 2 * len(known.points)
    by_name = {point.name: point for point in twice.points}
    for point in known.points:
        again = by_name[point.name]
        assert (again.predicted, again.low, again.high) == pytest.approx((point.predicted, point.low, point.high))


def test_a_figure_that_never_changes_adds_nothing(known):
    rows = [with_figures(row, {"head/stable_rank": 3.7}) for row in made_up_rows(families=12, tags=FEW)]
    found = calibration(rows, (TELLS, "confidence/mean", "head/stable_rank"))
    for mine, theirs in zip(known.points, found.points, strict=True):
        assert theirs.predicted == pytest.approx(mine.predicted)
    assert diagnose_row(found, rows[0].figures).contributions["head/stable_rank"] == 0
    far = diagnose_row(found, with_figures(rows[0], {"head/stable_rank": 50.0}).figures)
    assert (far.verdict, far.outside) == ("undetermined", ("head/stable_rank",))


def test_rows_without_a_figure_are_left_out_and_named():
    rows = made_up_rows(families=12, tags=FEW)
    rows[5] = with_figures(rows[5], {TELLS: math.nan})
    found = calibration(rows)
    assert found.left_out == {rows[5].name: f"it has no {TELLS}"}
    assert len(found.points) == 47
    assert found.points == calibration(rows[:5] + rows[6:]).points


def test_read_from_its_file_it_says_the_same_to_the_last_bit(known, tmp_path):
    write_calibration(known, tmp_path / "calibration.json")
    again = read_calibration(tmp_path / "calibration.json")
    assert again == known
    model = {TELLS: 1.234567890123, "confidence/mean": 0.77}
    first, second = (FittedDiagnosis(one).diagnose(model) for one in (known, again))
    assert first == second
    assert without_family(again, "m03") == without_family(known, "m03")


def test_the_points_are_what_a_calibration_without_their_family_says(known):
    found = FittedDiagnosis(without_family(known, "m03"))
    for point in known.points:
        if point.family == "m03":
            model = found.diagnose(point.figures)
            assert (model.low, model.high) == pytest.approx((point.low, point.high))
            assert model.predicted == pytest.approx(point.predicted)


def test_without_a_family_it_is_as_if_the_study_had_not_had_it(known):
    rows = made_up_rows(families=12, tags=FEW)
    less = without_family(known, "m03")
    other = calibration([row for row in rows if row.family != "m03"])
    assert dataclasses.replace(less, conventions=(), margin=0.0) == dataclasses.replace(
        other, conventions=(), margin=0.0
    )
    with pytest.raises(ValueError, match="has no family 'mine', but m00, m01"):
        without_family(known, "mine")


def test_the_prediction_is_scikit_learns(known):
    """Its pipeline on the figures themselves, by a loop over the record."""
    x = np.array([[math.log(p.figures[TELLS]), p.figures["confidence/mean"]] for p in known.points])
    y, weights = np.array([p.target for p in known.points]), np.full(len(x), 1 / 4)
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=known.penalty))
    pipeline.fit(x, y, standardscaler__sample_weight=weights, ridge__sample_weight=weights)
    fitted = FittedDiagnosis(known)
    found = [fitted.diagnose(point.figures).predicted for point in known.points]
    np.testing.assert_allclose(found, pipeline.predict(x), rtol=0, atol=1e-12)


def test_figures_of_its_own_choice_and_what_they_are_compared_with():
    found = fit_calibration(study_of(made_up_rows(families=11, rows=2)), provenance=PROVENANCE, seed=5)
    assert found.figures == PREDICTORS
    assert found.rivals == RIVALS
    roles = [skill.role for skill in found.skills]
    assert roles.count("rival") == len(RIVALS)
    assert roles.count("single figure") == len(set(PREDICTORS) - set(RIVALS))
    assert (found.seeds, found.skills[3].correlation.seed) == ({"bootstrap": 5}, 5)


def test_without_prediction_intervals_of_the_measurement_the_margin_is_zero():
    rows = [with_figures(row, {"er/mean/prediction_low": math.nan}) for row in made_up_rows(families=6, tags=FEW)]
    found = calibration(rows)
    assert found.margin == 0
    assert any("Margin: 0" in sentence for sentence in found.conventions)


def test_what_was_extrapolated_is_counted():
    rows = [with_figures(row, {"er/extrapolated": float(k < 3)}) for k, row in enumerate(made_up_rows(4, 2, tags=FEW))]
    found = calibration(rows)
    assert "3 of 8 rows lie outside the accuracies of the baseline's models." in found.conventions
    assert found.reasons[-1].startswith("The effective robustness of 3 of its 8 rows is an extrapolation")
    first = found.points[0].family
    assert found.points[0].extrapolated
    rest = without_family(calibration([*rows, *made_up_rows(6, 2, tags=FEW)[8:]]), first)  # two of the three go
    assert rest.reasons[-1].startswith("The effective robustness of 1 of its 10 rows is an extrapolation")


def test_refusals():
    with pytest.raises(ValueError, match="at least 4 families, got 3"):
        calibration(made_up_rows(families=3, tags=FEW))
    for level in (0.4, 1.0, math.nan):
        with pytest.raises(ValueError, match=f"at least 0.5 and below 1, got {level}"):
            calibration(made_up_rows(families=12, tags=FEW), level=level)


def with_figures(row, figures):
    return dataclasses.replace(row, figures={**row.figures, **figures})


def test_the_margin_of_a_table_without_a_family_is_that_of_the_other_rows():
    rows = made_up_rows(families=12, rows=1, tags=FEW)
    rows = [
        dataclasses.replace(row, figures={**row.figures, "er/mean/prediction_low": row.value("er/mean") - 0.01 * k})
        for k, row in enumerate(rows)
    ]
    whole = calibration(rows)
    assert whole.margin == pytest.approx(0.055)
    rest = without_family(whole, rows[0].family)
    assert rest.margin == pytest.approx(0.06)
    assert rest.margin == calibration(rows[1:]).margin
    # a file of an earlier version does not say it of its rows
    old = dataclasses.replace(whole, points=tuple(dataclasses.replace(point, margin=None) for point in whole.points))
    assert without_family(old, rows[0].family).margin == whole.margin
