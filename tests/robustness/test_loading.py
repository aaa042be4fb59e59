"""Baselines by name: the fit of METHODS 1, published CLIPs above it, options, files, and refusals."""

import json

import numpy as np
import pytest
from scipy import stats
from standard_models import IMAGES, logit, on_a_line

from lightning_robust.errors import UserError
from lightning_robust.results import BaselineRecord, collect_provenance, write_baseline
from lightning_robust.robustness import Baseline, load_baseline
from lightning_robust.robustness.loading import shipped_baselines
from lightning_robust.robustness.published import published_models, published_source, published_zero_shot

METHODS = {  # slope, intercept, R²
    "v2": (0.9316, -0.5088, 0.9963),
    "r": (0.9121, -1.6019, 0.8763),
    "sketch": (1.1219, -2.4404, 0.8911),
    "objectnet": (1.2311, -2.0672, 0.9492),
    "a": (3.1986, -6.4869, 0.7735),
    "mean": (1.0443, -1.8933, 0.9471),
}
SCATTER = {"v2": 0.004, "r": 0.024, "sketch": 0.023, "objectnet": 0.020, "a": 0.049}
CLIP = {"RN50": 0.2301, "RN101": 0.2676, "ViT-B-32": 0.2679, "ViT-B-16": 0.3310, "ViT-L-14": 0.3902}


@pytest.fixture(scope="module")
def imagenet():
    return load_baseline("imagenet")


@pytest.mark.parametrize("shift", METHODS)
def test_fit_of_the_methods_page_to_four_digits(imagenet, shift):
    line = imagenet.mean_line if shift == "mean" else imagenet.lines[shift]
    assert tuple(round(value, 4) for value in (line.slope, line.intercept, line.r_squared)) == METHODS[shift]


def test_selection(imagenet):
    assert len(imagenet.models) == 81
    assert {model.family for model in imagenet.models} == {"standard"}
    assert "resnet50" not in {model.name for model in imagenet.models}
    assert imagenet.shifts == ("v2", "r", "sketch", "objectnet", "a")
    assert imagenet.clipped == ()
    assert imagenet.reference_range == (0.56522, 0.84726)
    assert set(imagenet.protocols) == {"reference", *imagenet.shifts}


def test_scatter_of_the_methods_page(imagenet):
    assert {shift: round(line.left_out_sd, 3) for shift, line in imagenet.lines.items()} == SCATTER
    assert round(imagenet.mean_left_out_sd, 3) == 0.016


@pytest.mark.parametrize("architecture", CLIP)
def test_published_zero_shot_clips(imagenet, architecture):
    shifted = dict(published_zero_shot(architecture, "openai"))
    reference = shifted.pop("reference")
    images = published_source("imagenet_zero_shot")["images"]
    found = imagenet.effective_robustness(reference, shifted, images)
    assert round(found.mean.estimate, 4) == CLIP[architecture]
    assert found.mean.interval.low < found.mean.estimate < found.mean.interval.high
    assert found.mean.beyond_standard
    assert not found.mean.extrapolated


def test_resnet50_is_judged_by_a_clipped_zero(imagenet):
    model = next(m for m in published_models("imagenet_testbed") if m.name == "resnet50")
    assert model.shifts["a"] == 0.0
    found = imagenet.effective_robustness(model.reference, model.shifts, imagenet.images).shifts["a"]
    assert found.estimate == pytest.approx(-found.expected)
    assert np.isfinite([found.estimate, found.interval.low, found.prediction.high]).all()


def test_with_resnet50_the_fit_of_imagenet_a_is_poor(imagenet):
    """METHODS 1 says why it is left out: its zero, clipped, would halve what the line explains."""
    resnet50 = next(m for m in published_models("imagenet_testbed") if m.name == "resnet50")
    fitted = Baseline.fit([*imagenet.models, resnet50], n=imagenet.images, shifts=imagenet.shifts)
    assert round(fitted.lines["a"].r_squared, 2) == 0.53
    assert fitted.clipped == ("resnet50",)


def test_matched_reads_the_tables_columns():
    baseline = load_baseline("imagenet", x="matched")
    for shift in ("r", "objectnet", "a"):
        found = stats.linregress(
            logit([m.matched[shift] for m in baseline.models]), logit([m.shifts[shift] for m in baseline.models])
        )
        assert baseline.lines[shift].slope == pytest.approx(found.slope)
        assert baseline.lines[shift].r_squared == pytest.approx(found.rvalue**2)
    assert baseline.lines["v2"] == load_baseline("imagenet").lines["v2"]


def test_options():
    baseline = load_baseline("imagenet", scale="probit", aggregate="accuracy")
    assert (baseline.scale, baseline.aggregate) == ("probit", "accuracy")


def record(**change):
    fields = {
        "name": "mine",
        "description": "20 models on a line",
        "protocols": {"reference": "top-1"},
        "images": IMAGES,
        "scale": "probit",
        "x": "matched",
        "aggregate": "accuracy",
        "models": tuple(on_a_line(scatter=0.1)),
        "provenance": collect_provenance(threads=1),
    }
    return BaselineRecord(**fields | change)


def test_a_file_gives_the_baseline_it_was_written_from(tmp_path):
    write_baseline(record(), tmp_path / "mine.json")
    baseline = load_baseline(tmp_path / "mine.json")
    direct = Baseline.fit(on_a_line(scatter=0.1), n=IMAGES, scale="probit", x="matched", aggregate="accuracy")
    assert baseline.lines == direct.lines
    assert baseline.mean_line == direct.mean_line
    assert (baseline.name, baseline.protocols) == ("mine", {"reference": "top-1"})
    again = load_baseline(str(tmp_path / "mine.json"), scale="logit", x="full", aggregate="er")
    assert again.lines == Baseline.fit(on_a_line(scatter=0.1), n=IMAGES).lines


def test_what_ships_loads():
    assert "imagenet" in shipped_baselines()
    for name in shipped_baselines():
        baseline = load_baseline(name)
        assert len(baseline.models) >= 12
        assert baseline.name == name


def test_unknown_name_lists_what_ships():
    with pytest.raises(UserError, match="no baseline named 'cifar' and no such file: what ships is imagenet"):
        load_baseline("cifar")


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "log"}, "logit, probit, linear, got 'log'"),
        ({"x": "half"}, "'full' or 'matched'"),
        ({"images": {"reference": 10}}, "number of images of"),
        ({"models": ()}, "at least 3 models, got 0"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, change, message):
    write_baseline(record(**change), tmp_path / "mine.json")
    with pytest.raises(UserError, match=message):
        load_baseline(tmp_path / "mine.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "not a baseline: it has no schema_version"),
        ("[1", "is not a baseline"),
        (json.dumps({"schema_version": 99}), "newer lightning-robust"),
        (json.dumps({"schema_version": 1, "kind": "probe"}), "not a baseline: results lacks parts"),
    ],
)
def test_a_file_that_is_no_baseline(tmp_path, text, message):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(UserError, match=message):
        load_baseline(tmp_path / "mine.json")
