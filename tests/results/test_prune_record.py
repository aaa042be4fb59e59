"""The record of a pruning: through JSON and back, shares from counts, what is refused."""

import json

import pytest

from lightning_robust.errors import UserError
from lightning_robust.results import AccuracyRow, DataDescription, Interval, collect_provenance
from lightning_robust.results.prune_record import (
    PRUNE_KIND,
    PRUNE_ORDERS,
    JudgedPoint,
    PruneCurve,
    PrunedModel,
    PruneRecord,
    read_pruning,
    write_pruning,
)
from lightning_robust.results.pruned_headline import PrunedHeadline


def row(name, correct, images):
    return AccuracyRow(set=name, protocol="top-1", correct=correct, images=images, low=0.1, high=0.9)


def headline(kept, total):
    interval = Interval(1 - kept / total, 0.0, 0.75, 0.95, 2000, 0)
    return PrunedHeadline(
        fraction=interval, kept=kept, unbroken=interval, unbroken_kept=kept, total=total, points=0.01, unpruned=0.75,
        accuracy=0.75, images={"reference": 4},
    )  # fmt: skip


def curve(**changes):
    settings = {
        "order": "random", "form": "raw", "of": "directions", "total": 4, "kept": (4, 2, 0), "seeds": (0, 1),
        "correct": {"reference": ((3, 2, 1), (3, 3, 1)), "a": ((10, 5, 0), (10, 0, 5)), "b": ((1, 1, 0), (1, 0, 0))},
        "agreement": {"reference": ((4, 3, 0), (4, 4, 1)), "a": ((10, 9, 8), (10, 7, 6)), "b": ((2, 1, 1), (2, 2, 2))},
        "robustness": ((0.125, None, float("nan")), (0.125, 0.0, -0.5)),
        "extrapolated": ((False, True, False), (False, False, True)),
        "headlines": {"reference": (headline(2, 4), headline(4, 4))},
        "judged": {"4": JudgedPoint(rows=(row("reference", 3, 4), row("a", 10, 10), row("b", 1, 2)))},
    }  # fmt: skip
    return PruneCurve(**settings | changes)


def model(curves=None, **changes):
    settings = {
        "name": "m", "origin": "made up", "checkpoint_hash": "0" * 64, "classes": 5, "d": 8, "unit_norm": True,
        "bias": False, "rank_raw": 4, "rank_centred": 3, "privileged_raw": 1, "privileged_centred": 0,
        "outliers_by_rule": None, "calibration_images": 7,
        "unpruned": JudgedPoint(rows=(row("reference", 3, 4), row("a", 10, 10), row("b", 1, 2))),
        "curves": (curve(),) if curves is None else curves,
    }  # fmt: skip
    return PrunedModel(**settings | changes)


def record():
    return PruneRecord(
        provenance=collect_provenance(threads=1), seeds={"draw 1": 0},
        data=DataDescription(dataset="d", protocol="top-1", images={"reference": 4, "a": 10, "b": 2}),
        conventions=("one",), missing=("a control",), models=(model(),),
    )  # fmt: skip


def test_through_json_and_back(tmp_path):
    written = record()
    write_pruning(written, tmp_path / "results.json")
    read = read_pruning(tmp_path / "results.json")
    (before,), (after,) = written.models[0].curves, read.models[0].curves
    assert (after.robustness[0][:2], after.robustness[1]) == ((0.125, None), (0.125, 0.0, -0.5))
    assert after.robustness[0][2] is None  # no number is none
    assert after.correct == before.correct
    assert after.headlines == before.headlines
    assert after.judged == before.judged
    assert read.models[0].outliers_by_rule is None
    data = json.loads((tmp_path / "results.json").read_text())
    assert (data["schema_version"], data["kind"]) == (1, PRUNE_KIND)


def test_shares_are_counts_over_the_images_that_were_read():
    one = model()
    (found,) = one.curves
    assert found.fractions == (0.0, 0.5, 1.0)
    assert found.draws == 2
    assert one.accuracies(found, "reference") == ((0.75, 0.5, 0.25), (0.75, 0.75, 0.25))
    assert one.agreements(found, "b") == ((1.0, 0.5, 0.5), (1.0, 1.0, 1.0))
    assert one.shift_accuracies(found) == ((0.75, 0.5, 0.0), (0.75, 0.0, 0.25))
    assert (one.unpruned.reference, one.unpruned.shifts_mean) == (0.75, 0.75)


def test_an_order_that_draws_nothing_has_one_row():
    assert curve(seeds=()).draws == 1


def test_without_shifts_there_is_no_mean_of_them():
    alone = model(unpruned=JudgedPoint(rows=(row("reference", 3, 4),)))
    assert alone.unpruned.shifts_mean is None
    assert alone.shift_accuracies(alone.curves[0]) == ()


@pytest.mark.parametrize(("d", "null", "comparable"), [(8, 4, True), (9, 5, False), (4, 0, True)])
def test_null_space_is_apart_and_says_what_is_comparable(d, null, comparable):
    one = model(d=d)
    assert (one.null, one.comparable) == (null, comparable)


def test_a_curve_is_found_by_order_and_form():
    curves = (curve(), curve(form="centred"), curve(order="outlier_features", form="", of="features"))
    one = model(curves)
    assert one.curve("random", "centred") is curves[1]
    assert one.curve("outlier_features") is curves[2]
    assert one.curve("importance", "raw") is None
    assert set(PRUNE_ORDERS) >= {found.order for found in curves}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data.pop("models"), "lacks parts"),
        (lambda data: data.update(schema_version=99), "newer lightning-robust"),
        (lambda data: data["models"][0]["curves"][0].update(total="many"), "should be int"),
        (lambda data: data["models"][0].update(colour=1), "does not know: colour"),
        (lambda data: data.clear(), "no schema_version"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, change, sentence):
    path = tmp_path / "results.json"
    write_pruning(record(), path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=sentence):
        read_pruning(path)


def test_where_there_is_none(tmp_path):
    with pytest.raises(UserError, match=r"no results at .*prune writes its results.json there"):
        read_pruning(tmp_path / "results.json")
