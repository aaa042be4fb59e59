"""The record of ablations on disk, and what is looked up in it."""

import json
import math

import pytest

from lightning_robust.errors import UserError
from lightning_robust.results import (
    AccuracyRow,
    ConceptEntry,
    DataDescription,
    Interval,
    ModelDescription,
    collect_provenance,
    read_probe,
)
from lightning_robust.results.ablation_record import (
    AblatedUnit,
    Ablation,
    AblationRecord,
    TopImage,
    UnitGroup,
    read_ablation,
    write_ablation,
)


def rows(*right):
    return tuple(
        AccuracyRow(set=f"set {k}", protocol="top-1", correct=one, images=10, low=0.0, high=1.0)
        for k, one in enumerate(right)
    )


def ablation(**changes):
    fields = {"unit": "feature", "kind": "zero", "members": (3,), "count": 1, "together": False, "rows": rows(5, 4)}
    return Ablation(**fields | changes)


def unit(**changes):
    fields = {
        "unit": "feature", "index": 3, "by_rule": True, "far_out": 0.5, "mean_z": 7.0, "share": 0.4,
        "importance": 0.1, "common": 0.2, "mean": 9.0, "std": 1.0, "low": 6.0, "high": 12.0,
    }  # fmt: skip
    return AblatedUnit(**fields | changes)


def record(**changes):
    fields = {
        "provenance": collect_provenance(threads=1),
        "seeds": {"draw 1": 0},
        "data": DataDescription(dataset="toy", protocol="own", images={"set 0": 10}),
        "conventions": ("a rule",),
        "split": "test",
        "baseline": None,
        "model": ModelDescription(name="m", origin="o", checkpoint_hash="h", parameters=7, classes=2),
        "layer": "visual",
        "form": "64 features",
        "d": 64,
        "at_head": True,
        "calibration": 20,
        "untouched": rows(9, 8),
        "robustness": None,
        "groups": (
            UnitGroup(unit="feature", words="outlier features", members=(3, 1), by_rule=True, found=2, of=64),
            UnitGroup(unit="direction", form="raw", words="directions", members=(0,), by_rule=False, found=0, of=2),
        ),
        "units": (unit(index=1), unit(), unit(unit="direction", form="raw", index=0, far_out=math.inf)),
        "ablations": (
            ablation(),
            ablation(members=(1,)),
            ablation(members=(3, 1), count=2, together=True, differences={"shifts": Interval(0.1, 0, 1, 0.95, 9, 0)}),
            ablation(members=(5,), control="random features", draw=0, changed={"set 0": 3}),
            ablation(members=(6,), control="random features", draw=1),
            ablation(unit="direction", form="raw", members=(0,)),
        ),
        "files": {"scores.csv": "scores"},
    }
    return AblationRecord(**fields | changes)


def test_it_comes_back_whole(tmp_path):
    top = TopImage(image="set 0/1", set="set 0", place=1, label="cat", score=2.5, file="top_images/a.png")
    entry = ConceptEntry(concept="red", category="colour", average_precision=0.9, prevalence=0.1, sign=-1)
    whole = record(units=(unit(top=(top,), concepts=(entry,)), *record().units))
    write_ablation(whole, tmp_path / "results.json")
    assert read_ablation(tmp_path / "results.json") == whole
    data = json.loads((tmp_path / "results.json").read_text())
    assert (data["kind"], data["schema_version"]) == ("ablation", 1)


def test_what_is_not_defined_comes_back_as_nan(tmp_path):
    write_ablation(record(units=(unit(importance=math.nan),)), tmp_path / "results.json")
    assert math.isnan(read_ablation(tmp_path / "results.json").units[0].importance)


def test_units_of_a_group_are_in_its_order():
    found = record()
    assert [one.index for one in found.units_of(found.groups[0])] == [3, 1]
    assert [one.name for one in found.units_of(found.groups[1])] == ["direction 1 (raw)"]
    assert found.units_of(found.groups[0])[0].name == "feature 3"


def test_ablations_of_a_group_are_its_own_or_a_controls():
    found = record()
    features, directions = found.groups
    alone = found.ablations_of(features, "zero", together=False)
    assert [one.members for one in alone] == [(3,), (1,)]
    assert found.ablations_of(features, "zero", together=False, member=1) == alone[1:]
    assert [one.count for one in found.ablations_of(features, "zero", together=True)] == [2]
    draws = found.ablations_of(features, "zero", together=False, control="random features")
    assert [one.draw for one in draws] == [0, 1]
    assert found.ablations_of(features, "mean", together=False) == ()
    assert len(found.ablations_of(directions, "zero", together=False)) == 1


def test_the_mean_of_the_shifts_has_equal_weights():
    assert ablation(rows=rows(1, 4, 8)).shifts_mean == pytest.approx(0.6)
    assert math.isnan(ablation(rows=rows(1)).shifts_mean)


def test_other_records_are_told_apart(tmp_path):
    write_ablation(record(), tmp_path / "results.json")
    with pytest.raises(UserError, match=r"is not a results\.json of probe"):
        read_probe(tmp_path / "results.json")
    with pytest.raises(UserError, match="no results at"):
        read_ablation(tmp_path / "none.json")
