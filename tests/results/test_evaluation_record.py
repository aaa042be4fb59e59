"""The record of an evaluation: there and back, what it computes, refusals."""

import json
import math

import pytest

from lightning_robust.errors import UserError
from lightning_robust.results import (
    AccuracyRow,
    DataDescription,
    Difference,
    EvaluationRecord,
    Interval,
    ModelEvaluation,
    collect_provenance,
    read_evaluation,
    write_evaluation,
)
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness


def row(name, correct, images, **matched):
    return AccuracyRow(set=name, protocol="top-1", correct=correct, images=images, low=0.1, high=0.9, **matched)


def test_a_file_of_schema_1_is_read(record, tmp_path):
    write_evaluation(record, tmp_path / "results.json")
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["schema_version"] == 2
    data["schema_version"] = 1
    for model in data["models"]:
        for one in model["rows"]:
            del one["not_numbers"]
    (tmp_path / "old.json").write_text(json.dumps(data))
    old = read_evaluation(tmp_path / "old.json")
    assert old.models == record.models
    assert old.models[0].rows[0].not_numbers is None


@pytest.fixture
def record():
    interval = Interval(0.1, 0.05, 0.15, 0.95, 2000, 0)
    er = ShiftRobustness(
        accuracy=0.5, expected=0.4, estimate=0.1, interval=interval, prediction=None, extrapolated=True
    )
    models = tuple(
        ModelEvaluation(
            name=f"alpha={alpha:.2f}.safetensors",
            origin="finetuned",
            checkpoint_hash="0" * 64,
            alpha=alpha,
            rows=(
                row("reference", 9, 10),
                row("sketch", 1, 4, matched_correct=3, matched_images=5),
                row("art", 3, 4, matched_correct=9, matched_images=10),
            ),
            robustness=EffectiveRobustness(
                shifts={"sketch": er}, mean=er, baseline="toy", scale="logit", x="full", aggregate="er"
            ),
            published={"reference": 0.91},
        )
        for alpha in (0.0, 1.0)
    )
    return EvaluationRecord(
        provenance=collect_provenance(threads=1),
        seeds={"intervals": 0},
        data=DataDescription(dataset="toy", protocol="top-1", images={"reference": 10}),
        conventions=("an image of art was left out: x.png: not an image",),
        baseline="toy",
        models=models,
        differences=(Difference(set="art", model="b", other="a", interval=interval),),
    )


def test_round_trip_through_a_file(record, tmp_path):
    write_evaluation(record, tmp_path / "results.json")
    assert read_evaluation(tmp_path / "results.json") == record
    data = json.loads((tmp_path / "results.json").read_text())
    assert (data["kind"], data["schema_version"], data["split"]) == ("evaluation", 2, "test")


def test_accuracies(record):
    model = record.models[0]
    assert (model.reference.accuracy, model.reference.matched_accuracy) == (0.9, None)
    assert [shift.set for shift in model.shifts] == ["sketch", "art"]
    assert model.shifts_mean == (0.25 + 0.75) / 2
    assert model.shifts[0].matched_accuracy == 0.6
    assert row("r", 1, 2, matched_correct=0, matched_images=0).matched_accuracy is None  # none of its classes is there


def test_a_reference_alone_has_no_mean(record):
    alone = ModelEvaluation(name="a", origin="b", checkpoint_hash="c", rows=(row("reference", 1, 2),))
    assert math.isnan(alone.shifts_mean)
    assert alone.shifts == ()


def test_other_files_are_refused(record, tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(UserError, match=r"evaluate writes its results\.json there"):
        read_evaluation(path)
    write_evaluation(record, path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"schema_version": 3}))
    with pytest.raises(UserError, match="newer lightning-robust"):
        read_evaluation(path)
    del data["models"][0]["rows"][0]["protocol"]
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"rows\[0\] lacks parts that AccuracyRow needs: protocol"):
        read_evaluation(path)
