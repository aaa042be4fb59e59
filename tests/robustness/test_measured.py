"""Standard models from evaluations: what is taken over, and every way in which they do not fit together."""

import dataclasses

import pytest
from evaluations import evaluated, evaluation, row

from lightning_robust.errors import UserError
from lightning_robust.results import DataDescription
from lightning_robust.robustness import Baseline
from lightning_robust.robustness.measured import measured_models

TWELVE = [evaluated(k) for k in range(12)]


def test_figures_images_and_protocols():
    measured = measured_models({"one": evaluation(TWELVE[:5]), "two": evaluation(TWELVE[5:])})
    assert [model.name for model in measured.models] == [f"m{k}" for k in range(12)]
    model = measured.models[3]
    assert (model.reference, model.shifts, model.matched) == (0.51, {"sketch": 0.31, "art": 0.26}, {"art": 227 / 400})
    assert (model.checkpoint_hash, model.source) == (f"{3:064x}", "trained with seed 3")
    assert measured.images == {"reference": 1000, "sketch": 1000, "art": 1000, "matched/art": 400}
    assert measured.protocols == {name: f"top-1 on {name}" for name in ("reference", "sketch", "art")}
    assert measured.dataset == "made-up photos"


@pytest.mark.parametrize("x", ["full", "matched"])
def test_they_are_what_a_fit_needs(x):
    measured = measured_models({"one": evaluation(TWELVE)})
    baseline = Baseline.fit(measured.models, n=measured.images, x=x)
    assert baseline.shifts == ("sketch", "art")
    assert baseline.lines["sketch"].r_squared > 0.95


def test_names_that_occur_twice_are_told_apart():
    same = [evaluated(k, name="last.ckpt" if k < 2 else f"m{k}", checkpoint_hash=f"{k}" * 64) for k in range(12)]
    names = [model.name for model in measured_models({"one": evaluation(same)}).models]
    assert names[:3] == ["last.ckpt (00000000)", "last.ckpt (11111111)", "m2"]


def test_few_is_asked_for():
    records = {"one": evaluation(TWELVE[:11])}
    with pytest.raises(UserError, match=r"at least 12 standard models, got 11: .* --few"):
        measured_models(records)
    assert len(measured_models(records, few=True).models) == 11
    with pytest.raises(UserError, match="--few has no effect with 12 models"):
        measured_models({"one": evaluation(TWELVE)}, few=True)


def test_validation_images_stay_known_as_such():
    assert measured_models({"one": evaluation(TWELVE)}).split == "test"
    assert measured_models({"one": evaluation(TWELVE, split="val")}).split == "val"


def others(change):
    return {"one": evaluation(TWELVE), "two": evaluation([evaluated(12)], **change)}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({}, "got none"),
        ({"one": evaluation([])}, "got none"),
        (others({"split": "val"}), "the same split for all models: two has 'val', one has 'test'"),
        (
            others({"data": DataDescription(dataset="other", protocol="top-1", images={})}),
            "the same data for all models: two has 'other', one has 'made-up photos'",
        ),
        (
            others({"data": DataDescription(dataset="made-up photos", protocol="top-5", images={})}),
            "the same protocol for all models: two has 'top-5', one has 'top-1'",
        ),
    ],
)
def test_different_data(records, message):
    with pytest.raises(UserError, match=message):
        measured_models(records)


def rows(**change):
    by_name = {one.set: one for one in evaluated(12).rows} | change
    return tuple(one for one in by_name.values() if one is not None)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (evaluated(12, rows=rows(art=None)), "m12 has reference, sketch, m0 has reference, sketch, art"),
        (evaluated(12, rows=rows(sketch=row("sketch", 300, 999))), "on sketch, m12 has 999 images .* m0 1,000"),
        (
            evaluated(12, rows=rows(sketch=dataclasses.replace(row("sketch", 300), protocol="top-5"))),
            r"on sketch, m12 has 1,000 images \(top-5\), m0 1,000 \(top-1 on sketch\)",
        ),
        (evaluated(12, rows=rows(sketch=dataclasses.replace(row("sketch", 0), images=0))), "m12 has 0 of 0 on sketch"),
        (evaluated(12, rows=rows(sketch=row("sketch", 1001))), "m12 has 1001 of 1000 on sketch"),
        (evaluated(12, alpha=0.5), "m12 is a point of a Wise-FT path .α = 0.5."),
        (evaluated(12, checkpoint_hash=f"{3:064x}"), "m12 and m3 have the same weights"),
    ],
)
def test_a_model_that_does_not_fit(odd, message):
    with pytest.raises(UserError, match=message):
        measured_models({"one": evaluation([*TWELVE, odd])})


def test_no_shifts():
    alone = [evaluated(k, rows=evaluated(k).rows[:1]) for k in range(12)]
    with pytest.raises(UserError, match="m0 was evaluated on the reference alone: a baseline needs shifts"):
        measured_models({"one": evaluation(alone)})
