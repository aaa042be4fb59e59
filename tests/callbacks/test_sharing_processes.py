"""Several processes over gloo: every figure is that of one, however images are shared, and none counts twice."""

import math
from functools import partial

import pytest
from launching import launched

launch = partial(launched, "sharing_processes.py")
#: Whole numbers and what is sorted or counted: the same to the last bit.
EXACT = ("features", "privileged", "persisted", "appeared", "vanished", "eligible", "images", "per_image", "largest")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("alone"), 1, "one process")[0]


def is_exact(tag):
    return tag.startswith(("concepts/", "not_finite/")) or tag.rpartition("/")[2] in EXACT


def assert_same(ranks, alone, *, warned):
    for rank in ranks:
        for found, expected in zip(rank["histories"], alone["histories"], strict=True):
            assert [(e["epoch"], e["step"]) for e in found] == [(0, 0), (1, found[-1]["step"])]
            for entry, single in zip(found, expected, strict=True):
                assert entry["images"] == single["images"]
                assert entry["forms"] == single["forms"]
                assert entry.get("indices") == single.get("indices")
                assert entry["scalars"].keys() == single["scalars"].keys()
                for tag, value in single["scalars"].items():
                    if is_exact(tag) or math.isnan(value):
                        assert entry["scalars"][tag] == value or math.isnan(entry["scalars"][tag]), tag
                    else:
                        assert entry["scalars"][tag] == pytest.approx(value, rel=1e-12), tag
        assert rank["watched"] == pytest.approx(ranks[0]["watched"], rel=0, abs=0, nan_ok=True)
        assert str(rank["histories"]) == str(ranks[0]["histories"])
    first, *others = ranks
    assert first["logged"].count(0) == first["logged"].count(first["histories"][0][-1]["step"]) == 4
    assert not any(rank["logged"] for rank in others)
    assert [len(rank["warnings"]) for rank in ranks] == [int(warned), *[0] * len(others)]


def test_the_run_alone_has_something_to_count(alone):
    validation, tokens, *own = alone["histories"]
    assert [entry["images"] for entry in (*validation, *tokens)] == [37] * 4
    assert [entry["images"] for history in own for entry in history] == [23] * 4
    scalars = validation[0]["scalars"]
    assert scalars["outliers/fc:input/features"] == 1
    assert 0 < scalars["massive/fc:input/images"] < 1
    assert scalars["concepts/fc:input/eligible"] >= 1


@pytest.mark.parametrize(("devices", "case"), [(2, "padded"), (2, "one rank")])
def test_two_processes(devices, case, alone, tmp_path):
    """37 images: one is repeated on the second process, or the first has none at all."""
    ranks = launch(tmp_path, devices, case)
    assert [rank["batches"] for rank in ranks] == ([10, 10] if case == "padded" else [0, 20])
    assert_same(ranks, alone, warned=case == "one rank")


@pytest.mark.long
@pytest.mark.parametrize("case", ["padded", "shuffled", "unrepeated", "unknown", "one rank"])
def test_four_processes(case, alone, tmp_path):
    assert_same(launch(tmp_path, 4, case), alone, warned=case in ("unknown", "one rank"))
