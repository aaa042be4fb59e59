"""Bands and points: what `effective_robustness` says at one model, drawn as a curve."""

import numpy as np
import pytest
from standard_models import IMAGES, on_a_line

from lightning_robust.results import ModelAccuracies
from lightning_robust.robustness import Baseline, load_baseline
from lightning_robust.robustness.bands import band, points

MODELS = on_a_line(scatter=0.2)
GRID = np.linspace(0.4, 0.85, 7)


@pytest.mark.parametrize("shift", ["sketch", "art", "mean"])
@pytest.mark.parametrize("aggregate", ["er", "accuracy"])
def test_bands_lie_about_the_line_one_inside_the_other(shift, aggregate):
    baseline = Baseline.fit(MODELS, n=IMAGES, aggregate=aggregate)
    beta = baseline.expected(GRID, shift)
    low, high = band(baseline, GRID, shift, "line", replicates=500)
    wide_low, wide_high = band(baseline, GRID, shift, replicates=500)
    assert (wide_low < low).all()
    assert (low < beta).all()
    assert (beta < high).all()
    assert (high < wide_high).all()


@pytest.mark.parametrize("shift", ["sketch", "mean"])
def test_a_band_is_the_interval_of_a_model_known_without_error(shift):
    baseline = Baseline.fit(MODELS, n=IMAGES)
    exact = {"reference": 10**12, "sketch": 10**12, "art": 10**12}
    found = baseline.effective_robustness(0.7, {"sketch": 0.5, "art": 0.5}, exact)
    part = found.mean if shift == "mean" else found.shifts[shift]
    for kind, interval in (("line", part.interval), ("prediction", part.prediction)):
        low, high = band(baseline, np.array([0.7]), shift, kind)
        assert (part.accuracy - high[0], part.accuracy - low[0]) == pytest.approx(
            (interval.low, interval.high), abs=1e-4
        )


def test_most_standard_models_lie_in_their_band():
    baseline = load_baseline("imagenet")
    for shift in (*baseline.shifts, "mean"):
        x, y = points(baseline, baseline.models, shift)
        low, high = band(baseline, x, shift)
        assert 74 <= ((low <= y) & (y <= high)).sum() <= 81


def test_bands_of_all_scales_stay_accuracies():
    for scale in ("logit", "probit"):
        low, high = band(Baseline.fit(MODELS, n=IMAGES, scale=scale), np.array([0.0, 0.001, 0.999, 1.0]), "art")
        assert ((low > 0) & (high < 1)).all()


def test_points_full_and_matched():
    full, matched = (Baseline.fit(MODELS, n=IMAGES, x=x) for x in ("full", "matched"))
    for baseline, ours in ((full, MODELS[5].reference), (matched, MODELS[5].matched["art"])):
        x, y = points(baseline, MODELS, "art")
        assert (x[5], y[5]) == (ours, MODELS[5].shifts["art"])
    x, y = points(matched, MODELS)
    assert x[5] == pytest.approx((MODELS[5].reference + MODELS[5].matched["art"]) / 2)
    assert y[5] == pytest.approx((MODELS[5].shifts["art"] + MODELS[5].shifts["sketch"]) / 2)


def test_points_are_clipped_and_missing_figures_nan():
    baseline = Baseline.fit(MODELS, n=IMAGES)
    x, y = points(baseline, [ModelAccuracies("a", 1.0, {"art": 0.0}), ModelAccuracies("b", 0.5, {})], "art")
    assert x.tolist() == [1 - 1 / 10_000, 0.5]
    assert y[0] == 1 / 2000
    assert np.isnan(y[1])
    assert points(baseline, [], "mean")[0].shape == (0,)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "model"}, "'line' or a 'prediction', got 'model'"),
        ({"level": 0.0}, "level in .0, 1. and at least 1 replicate, got 0.0 and 2000"),
        ({"replicates": 0}, "got 0.95 and 0"),
        ({"shift": "video"}, "no line for video"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        band(**{"baseline": Baseline.fit(MODELS, n=IMAGES), "reference": GRID} | change)
    if "shift" in change:
        with pytest.raises(ValueError, match=message):
            points(Baseline.fit(MODELS, n=IMAGES), MODELS, "video")
