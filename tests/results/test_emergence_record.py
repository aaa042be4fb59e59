"""The record of a comparison of pretrainings on disk."""

import dataclasses
import json
import math

import pytest

from lightning_robust.errors import UserError
from lightning_robust.results import DataDescription, collect_provenance
from lightning_robust.results.emergence_record import (
    EmergenceCorrelation,
    EmergenceFinal,
    EmergenceOnset,
    EmergencePoint,
    EmergenceRecord,
    EmergenceRun,
    read_emergence,
    write_emergence,
)


def record(**changes):
    points = (
        EmergencePoint(step=0, images=0, figures={"er/mean": 0.02, "train/loss": 5.0}),
        EmergencePoint(step=4, images=512, figures={"er/mean": 0.3, "outliers/visual/features": 2.0}),
    )
    runs = tuple(
        EmergenceRun(variant=name, seed=seed, folder="a", reference="reference", checkpoint=None, points=points)
        for name in ("broad", "narrow")
        for seed in (0, 1)
    )
    fields = {
        "provenance": collect_provenance(threads=1),
        "seeds": (0, 1),
        "data": DataDescription(dataset="scenes", protocol="top-1", images={"reference": 10}),
        "baseline": None,
        "conventions": ("a rule",),
        "runs": runs,
        "finals": (EmergenceFinal(figure="er/mean", variant="broad", mean=0.3, half_width=0.1, seeds=2),),
        "onsets": (
            EmergenceOnset(
                figure="er/mean", variant="broad", change=0.28, change_half_width=0.01, clear=True,
                half_rise=(512.0, 512.0), leaves=512.0, extrapolated=True,
            ),
        ),
        "correlations": (EmergenceCorrelation(figure="a", variant="broad", values=(0.5, -1.0), points=(9, 9)),),
        "missing": {"narrow, seed 2": "it failed"},
    }  # fmt: skip
    return EmergenceRecord(**fields | changes)


def test_a_record_comes_back_as_it_was(tmp_path):
    write_emergence(record(), tmp_path / "emergence.json")
    assert read_emergence(tmp_path / "emergence.json") == record(
        provenance=read_emergence(tmp_path / "emergence.json").provenance
    )


def test_what_is_not_defined_is_null_and_comes_back_as_nan(tmp_path):
    never = dataclasses.replace(record().onsets[0], leaves=math.nan, half_rise=(math.nan, 512.0))
    write_emergence(record(onsets=(never,)), tmp_path / "emergence.json")
    stored = json.loads((tmp_path / "emergence.json").read_text())["onsets"][0]
    assert (stored["leaves"], stored["half_rise"]) == (None, [None, 512.0])
    found = read_emergence(tmp_path / "emergence.json").onsets[0]
    assert math.isnan(found.leaves)
    assert math.isnan(found.half_rise[0])


def test_variants_stand_in_the_order_of_the_runs():
    assert record().variants == ("broad", "narrow")


def test_a_figure_that_was_not_measured_is_nan():
    point = record().runs[0].points[0]
    assert point.value("er/mean") == 0.02
    assert math.isnan(point.value("kurtosis/visual"))


@pytest.mark.parametrize(("step", "images"), [(-1, 0), (0, -1)])
def test_a_point_before_the_beginning_is_refused(step, images):
    with pytest.raises(ValueError, match="0 or more"):
        EmergencePoint(step=step, images=images, figures={})


def test_a_newer_file_and_another_are_refused(tmp_path):
    path = tmp_path / "emergence.json"
    write_emergence(record(schema_version=2), path)
    with pytest.raises(UserError, match="newer"):
        read_emergence(path)
    path.write_text('{"schema_version": 1, "kind": "probe"}')
    with pytest.raises(UserError, match="not a record of emergence"):
        read_emergence(path)
