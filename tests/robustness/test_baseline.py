"""Baselines: independent fits, laws of effective robustness, subsets of shifts, the options, and bad input."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from standard_models import IMAGES, expit, logit, on_a_line

from lightning_robust.results import ModelAccuracies, collect_provenance, write_baseline
from lightning_robust.robustness import Baseline, load_baseline

SCATTERED = on_a_line(scatter=0.2)


def er(baseline, reference, sketch=0.4, art=0.3, **options):
    return baseline.effective_robustness(reference, {"sketch": sketch, "art": art}, IMAGES, replicates=0, **options)


def test_known_line():
    baseline = Baseline.fit(on_a_line(), n=IMAGES)
    assert baseline.shifts == ("sketch", "art")
    for shift, slope, intercept in (("sketch", 1.2, -1.0), ("art", 0.8, -2.0)):
        line = baseline.lines[shift]
        assert (line.slope, line.intercept) == (pytest.approx(slope), pytest.approx(intercept))
        assert line.r_squared == pytest.approx(1.0)
        assert line.left_out_sd == pytest.approx(0.0, abs=1e-12)
    assert baseline.reference_range == (pytest.approx(float(expit(-0.5))), pytest.approx(float(expit(2.0))))


@pytest.mark.parametrize(
    ("scale", "forward"), [("logit", logit), ("probit", stats.norm.ppf), ("linear", lambda p: np.asarray(p))]
)
@pytest.mark.parametrize("x", ["full", "matched"])
def test_fits_are_scipys(scale, forward, x):
    baseline = Baseline.fit(SCATTERED, n=IMAGES, scale=scale, x=x)
    reference = [m.reference for m in SCATTERED]
    matched = [m.matched["art"] for m in SCATTERED]
    means = [np.mean(list(m.shifts.values())) for m in SCATTERED]
    mean_x = np.mean([reference, matched], axis=0) if x == "matched" else reference
    for line, u, v in (
        (baseline.lines["sketch"], reference, [m.shifts["sketch"] for m in SCATTERED]),
        (baseline.lines["art"], matched if x == "matched" else reference, [m.shifts["art"] for m in SCATTERED]),
        (baseline.mean_line, mean_x, means),
    ):
        found = stats.linregress(forward(np.array(u)), forward(np.array(v)))
        assert (line.slope, line.intercept) == (pytest.approx(found.slope), pytest.approx(found.intercept))
        assert line.r_squared == pytest.approx(found.rvalue**2)
        assert (line.low, line.high) == (pytest.approx(min(u)), pytest.approx(max(u)))


def test_er_is_accuracy_above_the_line():
    found = er(Baseline.fit(SCATTERED, n=IMAGES), 0.7, 0.55, 0.2)
    estimates = []
    for shift, accuracy in (("sketch", 0.55), ("art", 0.2)):
        line = stats.linregress(logit([m.reference for m in SCATTERED]), logit([m.shifts[shift] for m in SCATTERED]))
        expected = float(expit(line.intercept + line.slope * logit(0.7)))
        assert found.shifts[shift].expected == pytest.approx(expected)
        assert found.shifts[shift].estimate == pytest.approx(accuracy - expected)
        estimates.append(accuracy - expected)
    assert found.mean.estimate == pytest.approx(np.mean(estimates))
    assert found.mean.accuracy == pytest.approx(0.375)
    assert found.mean.interval is found.mean.prediction is found.mean.beyond_standard is None
    assert (found.baseline, found.scale, found.x, found.aggregate) == ("own", "logit", "full", "er")


def test_left_out_are_the_models_own_er_among_the_others():
    baseline = Baseline.fit(SCATTERED, n=IMAGES)
    for k in (0, 7, 19):
        others = Baseline.fit(SCATTERED[:k] + SCATTERED[k + 1 :], n=IMAGES)
        model = SCATTERED[k]
        found = others.effective_robustness(model.reference, model.shifts, IMAGES, replicates=0)
        assert baseline.lines["art"].left_out_accuracy[k] == pytest.approx(found.shifts["art"].estimate)
        assert baseline.mean_line.left_out_accuracy[k] == pytest.approx(
            Baseline.fit(SCATTERED[:k] + SCATTERED[k + 1 :], n=IMAGES, aggregate="accuracy")
            .effective_robustness(model.reference, model.shifts, IMAGES, replicates=0)
            .mean.estimate
        )


def test_aggregate_accuracy_has_one_line_on_the_mean():
    baseline = Baseline.fit(SCATTERED, n=IMAGES, aggregate="accuracy")
    means = logit([np.mean(list(m.shifts.values())) for m in SCATTERED])
    line = stats.linregress(logit([m.reference for m in SCATTERED]), means)
    expected = float(expit(line.intercept + line.slope * logit(0.7)))
    found = er(baseline, 0.7, 0.55, 0.2)
    assert found.mean.estimate == pytest.approx(0.375 - expected)
    assert found.aggregate == "accuracy"
    assert found.shifts["art"] == er(Baseline.fit(SCATTERED, n=IMAGES), 0.7, 0.55, 0.2).shifts["art"]
    assert baseline.mean_left_out_sd == baseline.mean_line.left_out_sd


@pytest.mark.parametrize("scale", ["logit", "probit", "linear"])
@given(u=st.floats(-0.4, 1.9))
def test_a_model_on_the_line_has_none(scale, u):
    baseline = _LINES[scale]
    reference = float(expit(u))
    on_it = {shift: float(baseline.expected(np.array([reference]), shift)[0]) for shift in baseline.shifts}
    found = baseline.effective_robustness(reference, on_it, IMAGES, replicates=0)
    assert found.mean.estimate == pytest.approx(0, abs=1e-12)
    assert all(part.estimate == pytest.approx(0, abs=1e-12) for part in found.shifts.values())


_LINES = {s: Baseline.fit(on_a_line(scatter=0.1, seed=3), n=IMAGES, scale=s) for s in ("logit", "probit", "linear")}


@given(st.floats(0.4, 0.85), st.floats(0.01, 0.9), st.floats(0.001, 0.09))
def test_more_on_the_shift_is_more_and_more_on_the_reference_is_less(reference, art, more):
    baseline = _LINES["logit"]
    here = er(baseline, reference, 0.4, art).shifts["art"].estimate
    assert er(baseline, reference, 0.4, art + more).shifts["art"].estimate == pytest.approx(here + more)
    assert er(baseline, reference + more, 0.4, art).shifts["art"].estimate < here


@given(st.permutations(range(20)))
def test_order_of_models_changes_nothing(order):
    shuffled = Baseline.fit([SCATTERED[k] for k in order], n=IMAGES)
    straight = Baseline.fit(SCATTERED, n=IMAGES)
    for shift in straight.shifts:
        assert shuffled.lines[shift].slope == pytest.approx(straight.lines[shift].slope, rel=1e-10)
    assert er(shuffled, 0.7).mean.estimate == pytest.approx(er(straight, 0.7).mean.estimate, abs=1e-12)


def test_subset_of_shifts():
    baseline = Baseline.fit(SCATTERED, n=IMAGES)
    found = baseline.effective_robustness(0.7, {"art": 0.3}, {"reference": 5000, "art": 1000}, replicates=50)
    assert list(found.shifts) == ["art"]
    assert found.mean.estimate == pytest.approx(found.shifts["art"].estimate)
    assert found.shifts["art"].estimate == er(baseline, 0.7).shifts["art"].estimate
    assert baseline.on(["art", "sketch"]) is baseline
    alone = Baseline.fit(SCATTERED, n=IMAGES, shifts=["art"], aggregate="accuracy")
    assert Baseline.fit(SCATTERED, n=IMAGES, aggregate="accuracy").on(["art"]).mean_line == alone.mean_line


def test_matched_subset_without_matched_classes():
    found = Baseline.fit(SCATTERED, n=IMAGES, x="matched").effective_robustness(
        0.7, {"sketch": 0.4}, IMAGES, replicates=0
    )
    assert found.x == "matched"
    assert found.mean.estimate == pytest.approx(er(Baseline.fit(SCATTERED, n=IMAGES), 0.7).shifts["sketch"].estimate)


def test_matched_reads_the_matched_accuracy():
    baseline = Baseline.fit(SCATTERED, n=IMAGES, x="matched")
    found = er(baseline, {"reference": 0.7, "art": 0.8})
    line = stats.linregress(logit([m.matched["art"] for m in SCATTERED]), logit([m.shifts["art"] for m in SCATTERED]))
    assert found.shifts["art"].expected == pytest.approx(float(expit(line.intercept + line.slope * logit(0.8))))
    assert found.shifts["sketch"] == er(Baseline.fit(SCATTERED, n=IMAGES), 0.7).shifts["sketch"]
    assert er(Baseline.fit(SCATTERED, n=IMAGES), {"reference": 0.7, "art": 0.8}) == er(
        Baseline.fit(SCATTERED, n=IMAGES), 0.7
    )


@pytest.mark.parametrize(
    ("reference", "extrapolated"),
    [(float(expit(2.0)) + 1e-6, True), (float(expit(-0.5)) - 1e-6, True), (0.6, False), (0.0, True), (1.0, True)],
)
def test_extrapolation_is_labelled(reference, extrapolated):
    found = er(Baseline.fit(on_a_line(), n=IMAGES), reference)
    assert found.mean.extrapolated is found.shifts["art"].extrapolated is extrapolated


def test_ends_of_the_range_are_inside():
    models = on_a_line()
    baseline = Baseline.fit(models, n=IMAGES)
    assert not er(baseline, models[0].reference).mean.extrapolated
    assert not er(baseline, models[-1].reference).mean.extrapolated


def test_one_shift_outside_its_matched_range_labels_the_mean():
    found = er(Baseline.fit(SCATTERED, n=IMAGES, x="matched"), {"reference": 0.7, "art": 0.99})
    assert (found.shifts["sketch"].extrapolated, found.shifts["art"].extrapolated) == (False, True)
    assert found.mean.extrapolated


@pytest.mark.parametrize("scale", ["logit", "probit", "linear"])
@pytest.mark.parametrize("reference", [0.0, 1.0])
@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_none_and_all_right_are_judged(scale, reference, accuracy):
    found = Baseline.fit(SCATTERED, n=IMAGES, scale=scale).effective_robustness(
        reference, {"sketch": accuracy, "art": 0.3}, IMAGES, replicates=100
    )
    line = Baseline.fit(SCATTERED, n=IMAGES, scale=scale).expected(np.array([abs(reference - 1e-4)]), "sketch")
    assert found.shifts["sketch"].estimate == pytest.approx(accuracy - line[0])
    for part in (*found.shifts.values(), found.mean):
        ends = (part.interval.low, part.interval.high, part.prediction.low, part.prediction.high)
        assert np.isfinite([part.estimate, *ends]).all()


def test_zero_in_the_fit_is_clipped_and_named():
    broken = dataclasses.replace(SCATTERED[3], shifts={"sketch": SCATTERED[3].shifts["sketch"], "art": 0.0})
    models = [*SCATTERED[:3], broken, *SCATTERED[4:]]
    baseline = Baseline.fit(models, n=IMAGES)
    clipped = [max(m.shifts["art"], 1 / 2000) for m in models]
    assert baseline.lines["art"].slope == pytest.approx(
        stats.linregress(logit([m.reference for m in models]), logit(clipped)).slope
    )
    assert baseline.clipped == ("m3",)
    assert Baseline.fit(SCATTERED, n=IMAGES).clipped == ()


def test_expected_is_monotone_and_clipped():
    baseline = Baseline.fit(SCATTERED, n=IMAGES)
    beta = baseline.expected(np.array([0.0, 0.2, 0.5, 0.8, 1.0]))
    assert (np.diff(beta) > 0).all()
    assert ((beta > 0) & (beta < 1)).all()
    each = [baseline.expected(np.array([0.5]), shift)[0] for shift in baseline.shifts]
    assert beta[2] == pytest.approx(np.mean(each))


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_a_linear_scale_expects_fractions_outside_its_range_too(accuracy):
    models = [ModelAccuracies(f"m{k}", 0.4 + 0.02 * k, {"art": 0.02 + 0.05 * k}) for k in range(20)]
    baseline = Baseline.fit(models, n=IMAGES, scale="linear")
    found = baseline.effective_robustness(accuracy, {"art": accuracy}, IMAGES).mean
    assert found.expected == accuracy
    assert -1 <= found.prediction.low <= found.prediction.high <= 1
    assert baseline.expected(np.array([accuracy])).tolist() == [accuracy]


def renamed(model, name):
    return dataclasses.replace(model, shifts={"sketch": 0.5, name: 0.5}, matched={})


def test_frozen_and_pickled():
    baseline = Baseline.fit(SCATTERED, n=IMAGES)
    with pytest.raises(dataclasses.FrozenInstanceError):
        baseline.name = "other"
    again = pickle.loads(pickle.dumps(baseline))
    assert again == baseline
    assert er(again, 0.7) == er(baseline, 0.7)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "log"}, "logit, probit, linear, got 'log'"),
        ({"x": "half"}, "'full' or 'matched', got 'half'"),
        ({"aggregate": "median"}, "'er' or 'accuracy', got 'median'"),
        ({"shifts": []}, "at least one shift"),
        ({"shifts": ["sketch", "video"]}, "m0 has no accuracy on video"),
        ({"n": {"reference": 10, "sketch": 10}}, "lacks the number of images of art: it has reference, sketch"),
        ({"n": {}}, "lacks the number of images of reference, sketch, art: it has none"),
        ({"n": {**IMAGES, "art": 0}}, "images of art is a whole number of at least 1, got 0"),
        ({"n": {**IMAGES, "art": 10.5}}, "whole number of at least 1, got 10.5"),
        ({"n": {**IMAGES, "art": float("nan")}}, "whole number of at least 1, got nan"),
        ({"n": {**IMAGES, "art": float("inf")}}, "whole number of at least 1, got inf"),
        *(
            ({"models": [renamed(m, name) for m in SCATTERED]}, f"no shift can be called '{name}'")
            for name in ("reference", "mean", "matched/art")
        ),
        ({"models": SCATTERED[:2]}, "at least 3 models, got 2"),
        ({"models": []}, "at least 3 models, got 0"),
        ({"models": [*SCATTERED, SCATTERED[4]]}, "counts once in a baseline, m4 does not"),
        ({"models": [ModelAccuracies(f"m{k}", 0.5, {"art": k / 9}) for k in range(5)]}, "2 different"),
        ({"models": [dataclasses.replace(m, matched={}) for m in SCATTERED], "x": "matched"}, "no model has any"),
        (
            {"models": [*SCATTERED[:-1], dataclasses.replace(SCATTERED[-1], matched={})], "x": "matched"},
            "m19 has no accuracy on matched/art",
        ),
        ({"models": [*SCATTERED, ModelAccuracies("odd", 77.0, {"sketch": 0.1, "art": 0.1})]}, "odd has 77.0 on ref"),
        ({"models": [*SCATTERED, ModelAccuracies("odd", 0.7, {"sketch": -0.1, "art": 0.1})]}, "odd has -0.1 on sk"),
        ({"models": [*SCATTERED, ModelAccuracies("odd", 0.7, {"sketch": float("nan"), "art": 0.1})]}, "odd has nan"),
    ],
)
def test_refusals_of_a_fit(change, message):
    with pytest.raises(ValueError, match=message):
        Baseline.fit(**{"models": SCATTERED, "n": IMAGES} | change)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": 1.5}, "the model has 1.5 on reference"),
        ({"reference": float("nan")}, "the model has nan on reference"),
        ({"reference": {"art": 0.5}}, "reference accuracy lacks reference"),
        ({"shifted": {}}, "at least one shift"),
        ({"shifted": {"sketch": 2.0}}, "the model has 2.0 on sketch"),
        ({"shifted": {"sketsh": 0.5}}, "no line for sketsh: did you mean 'sketch'"),
        ({"shifted": {"video": 0.5}}, "no line for video: it has sketch, art"),
        ({"n": {"reference": 10, "sketch": 10}}, "images of art"),
        ({"n": {**IMAGES, "reference": -1}}, "at least 1, got -1"),
        ({"level": 1.0}, "level of an interval lies between 0 and 1, got 1.0"),
        ({"replicates": -1}, "replicates is at least 0, got -1"),
        ({"seed": -1}, "seed is at least 0, got -1"),
    ],
)
def test_refusals_of_a_judgement(change, message):
    call = {"reference": 0.7, "shifted": {"sketch": 0.4, "art": 0.3}, "n": IMAGES} | change
    with pytest.raises(ValueError, match=message):
        Baseline.fit(SCATTERED, n=IMAGES).effective_robustness(**call)


def test_matched_needs_a_mapping():
    with pytest.raises(ValueError, match=r"lacks art .for x='matched': a mapping"):
        er(Baseline.fit(SCATTERED, n=IMAGES, x="matched"), 0.7)


def test_no_line_of_that_name():
    with pytest.raises(ValueError, match="did you mean 'art'"):
        Baseline.fit(SCATTERED, n=IMAGES).expected(np.array([0.5]), "arts")


def test_record_holds_models_and_options(tmp_path):
    baseline = Baseline.fit(
        SCATTERED, n=IMAGES, scale="probit", name="mine", protocols={"art": "top-1"}, description="a"
    )
    write_baseline(baseline.to_record(collect_provenance(threads=1)), tmp_path / "mine.json")
    again = load_baseline(tmp_path / "mine.json")
    assert again == baseline
    assert again.drawn(10, 0).slopes.tolist() == baseline.drawn(10, 0).slopes.tolist()
