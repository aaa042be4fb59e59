"""The record of a probe over steps on disk."""

import csv
import dataclasses
import json
import math

import pytest

from lightning_robust.errors import UserError
from lightning_robust.results import DataDescription, ProbedLayer, collect_provenance, read_probe, write_table
from lightning_robust.results.steps_record import Agreement, ProbedStep, StepsRecord, read_steps, write_steps


def record(**changes):
    first = {"kurtosis/h": 3.5, "outliers/h/persisted": math.nan}
    points = (
        ProbedStep(step=0, checkpoint_hash="a", head_hash=None, figures=first),
        ProbedStep(step=4, checkpoint_hash="b", head_hash="c", figures={"kurtosis/h": 1 / 3}),
    )
    fields = {
        "provenance": collect_provenance(threads=1),
        "seeds": {"rotations": 0},
        "run": "checkpoints/run/steps",
        "origin": "ContrastivePretraining, architecture of RN50",
        "parameters": 12,
        "classes": 3,
        "data": DataDescription(dataset="scenes", protocol="own", images={"reference": 10}),
        "conventions": ("a rule",),
        "representation": "h",
        "layers": (ProbedLayer(name="h", form="2 features", d=2),),
        "points": points,
        "agreement": Agreement(figures=2, steps=2, largest=1e-9, tag="kurtosis/h", step=4),
    }
    return StepsRecord(**fields | changes)


def test_it_comes_back_whole(tmp_path):
    whole = record(points=record().points[1:])
    write_steps(whole, tmp_path / "results.json")
    assert read_steps(tmp_path / "results.json") == whole
    write_steps(record(agreement=None), tmp_path / "results.json")
    again = read_steps(tmp_path / "results.json")
    assert again.agreement is None
    assert math.isnan(again.points[0].figures["outliers/h/persisted"])
    data = json.loads((tmp_path / "results.json").read_text())
    assert (data["kind"], data["schema_version"]) == ("probe steps", 1)


def test_an_infinite_difference_comes_back(tmp_path):
    far = dataclasses.replace(record().agreement, largest=math.inf)
    write_steps(record(agreement=far), tmp_path / "results.json")
    assert read_steps(tmp_path / "results.json").agreement == far


def test_its_rows_are_a_table_with_every_digit(tmp_path):
    write_table(tmp_path / "steps.csv", record().rows())
    with (tmp_path / "steps.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["step", "tag", "value"],
        ["0", "kurtosis/h", "3.5"],
        ["0", "outliers/h/persisted", ""],
        ["4", "kurtosis/h", repr(1 / 3)],
    ]


def test_other_records_are_refused_in_one_sentence(tmp_path):
    write_steps(record(), tmp_path / "results.json")
    with pytest.raises(UserError, match=r"this is not a results\.json of probe"):
        read_probe(tmp_path / "results.json")
    (tmp_path / "results.json").write_text('{"schema_version": 2}')
    with pytest.raises(UserError, match="newer lightning-robust"):
        read_steps(tmp_path / "results.json")
    with pytest.raises(UserError, match="no results at"):
        read_steps(tmp_path / "none.json")
