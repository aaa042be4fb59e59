"""The record of a compression: there and back, what it computes, refusals."""

import json
import math
from dataclasses import replace

import pytest

from lightning_robust.errors import UserError
from lightning_robust.results import (
    AccuracyRow,
    CompressedPoint,
    CompressRecord,
    DataDescription,
    Interval,
    Latency,
    collect_provenance,
    read_compression,
    write_compression,
)
from lightning_robust.results.effective_robustness import EffectiveRobustness, ShiftRobustness


def row(name, correct, images):
    return AccuracyRow(set=name, protocol="top-1", correct=correct, images=images, low=0.1, high=0.9)


def point(method, parameters, nonzero, *, ms=None, speedup=None, **more):
    latency = {} if ms is None else {"1": Latency(median_ms=ms, low_ms=ms, high_ms=2 * ms, rounds=3, speedup=speedup)}
    rows = more.pop("rows", (row("reference", 9, 10), row("sketch", 1, 4), row("art", 3, 4)))
    return CompressedPoint(
        method=method, parameters=parameters, nonzero=nonzero, flops=2 * parameters, latency=latency, rows=rows, **more
    )


@pytest.fixture
def record():
    interval = Interval(-0.01, -0.02, 0.005, 0.95, 2000, 0)
    er = ShiftRobustness(
        accuracy=0.5, expected=0.4, estimate=0.1, interval=interval, prediction=None, extrapolated=False
    )
    robustness = EffectiveRobustness(
        shifts={"sketch": er, "art": er}, mean=er, baseline="toy", scale="logit", x="full", aggregate="er"
    )
    return CompressRecord(
        provenance=collect_provenance(threads=1),
        seeds={"intervals": 0},
        data=DataDescription(dataset="toy", protocol="top-1", images={"reference": 10}),
        conventions=("latency: in turns.",),
        baseline="toy",
        model="a network",
        origin="drawn",
        checkpoint_hash="0" * 64,
        alpha=0.5,
        calibration_images=512,
        threads=2,
        matrices={"a.weight": (8, 4), "a.in_proj_weight[q]": (8, 8)},
        points=(
            point("dense", 100, 90, ms=12.0, robustness=robustness),
            point(
                "calibrated", 50, 50, ms=6.0, speedup=1.9, keep=0.5, finetuned_epochs=1, file_bytes=200,
                folder="keep=0.50", ranks={"a.weight": 2, "a.in_proj_weight[q]": None},
                differences={"reference": interval, "shifts": interval}, robustness=robustness,
            ),
            point("uniform", 50, 50, ms=8.0, keep=0.5),
            point("magnitude", 100, 45, keep=0.5),
        ),
    )  # fmt: skip


def test_round_trip_through_a_file(record, tmp_path):
    write_compression(record, tmp_path / "results.json")
    assert read_compression(tmp_path / "results.json") == record
    data = json.loads((tmp_path / "results.json").read_text())
    assert (data["kind"], data["schema_version"], data["split"]) == ("compression", 1, "test")
    assert data["points"][1]["ranks"] == {"a.weight": 2, "a.in_proj_weight[q]": None}


def test_accuracies(record):
    assert record.dense.reference.accuracy == 0.9
    assert [one.set for one in record.dense.shifts] == ["sketch", "art"]
    assert record.dense.shifts_mean == (0.25 + 0.75) / 2
    assert math.isnan(point("dense", 1, 1, rows=(row("reference", 1, 2),)).shifts_mean)


def test_what_is_kept_counts_what_is_stored_and_for_a_mask_what_is_not_zero(record):
    dense, calibrated, _, magnitude = record.points
    assert (record.share(dense), record.share(calibrated), record.share(magnitude)) == (1.0, 0.5, 0.45)
    assert [one.masked for one in record.points] == [False, False, False, True]


def test_speed_is_that_of_the_rounds_where_it_was_kept_else_of_the_medians(record):
    dense, calibrated, uniform, magnitude = record.points
    assert record.speedup(calibrated, "1") == 1.9  # the medians would give 2
    assert record.speedup(uniform, "1") == 1.5
    assert record.speedup(dense, "1") == 1.0
    assert record.speedup(magnitude, "1") is None
    assert record.speedup(calibrated, "64") is None


def test_other_files_are_refused(record, tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(UserError, match=r"compress writes its results\.json there"):
        read_compression(path)
    write_compression(record, path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"schema_version": 2}))
    with pytest.raises(UserError, match="newer lightning-robust"):
        read_compression(path)
    path.write_text(json.dumps(data | {"points": data["points"][1:]}))
    with pytest.raises(UserError, match="the first point of a record of compress is the dense network, got calibrated"):
        read_compression(path)
    del data["points"][0]["flops"]
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"points\[0\] lacks parts that CompressedPoint needs: flops"):
        read_compression(path)


def test_points_that_do_not_belong_together_are_refused(record):
    dense, calibrated, *_ = record.points
    with pytest.raises(ValueError, match="dense network, got none"):
        replace(record, points=())
    other = replace(calibrated, rows=calibrated.rows[:2])
    with pytest.raises(ValueError, match=r"reference, sketch, art, got reference, sketch for calibrated at 0\.5"):
        replace(record, points=(dense, other))
    with pytest.raises(ValueError, match="some sets, got none for dense at 1"):
        replace(record, points=(replace(dense, rows=()),))
    with pytest.raises(ValueError, match="at least one parameter, got 0 for dense"):
        replace(record, points=(replace(dense, parameters=0),))
