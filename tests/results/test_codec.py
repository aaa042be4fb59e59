"""Dataclasses to JSON and back."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_robust.results.codec import decode, encode


@dataclass(frozen=True)
class Inner:
    value: float
    flag: bool = False


@dataclass(frozen=True)
class Outer:
    name: str
    count: int
    inner: Inner | None
    rows: tuple[Inner, ...]
    table: Mapping[str, float]
    anything: Any = None


def round_trip(kind, value):
    return decode(kind, json.loads(json.dumps(encode(value), allow_nan=False)))


numbers = st.floats(allow_nan=False)
inners = st.builds(Inner, numbers, st.booleans())


@given(
    st.builds(
        Outer,
        st.text(),
        st.integers(),
        st.none() | inners,
        st.lists(inners).map(tuple),
        st.dictionaries(st.text(), numbers),
        st.none() | st.integers() | st.text(),
    )
)
def test_round_trip(record):
    assert round_trip(Outer, record) == record


def test_nan_is_null_and_comes_back():
    assert encode(Inner(math.nan)) == {"value": None, "flag": False}
    assert math.isnan(round_trip(Inner, Inner(math.nan)).value)


def test_scalars_of_numpy_and_torch():
    scalars = [np.float32(0.5), np.float64("nan"), np.int64(3), np.bool_(True), torch.tensor(0.25), np.array(2.0)]
    assert encode(scalars) == [0.5, None, 3, True, 0.25, 2.0]
    assert [type(x) for x in encode(scalars)] == [float, type(None), int, bool, float, float]
    assert encode(Path("a") / "b") == "a/b"


@pytest.mark.parametrize("value", [object(), {1: 2}, torch.zeros(2), {3}, Inner])
def test_what_json_cannot_hold_is_named(value):
    with pytest.raises(TypeError, match=r"results\.config\.layer"):
        encode({"config": {"layer": value}}, "results")


GOOD = {"name": "a", "count": 1, "inner": None, "rows": [], "table": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 1.5}, "record.count should be int"),
        ({"count": True}, "record.count should be int"),
        ({"name": None}, "record.name should be str"),
        ({"table": {"x": "y"}}, "record.table.x should be a number"),
        ({"table": {"x": True}}, "record.table.x should be a number"),
        ({"table": []}, "record.table should be an object"),
        ({"rows": {}}, "record.rows should be a list"),
        ({"rows": [3]}, r"record.rows\[0\] should be an object"),
        ({"rows": [{"value": 1, "flag": 0}]}, r"record.rows\[0\].flag should be bool"),
        ({"rows": [{}]}, r"record.rows\[0\] lacks parts that Inner needs: value"),
        ({"extra": 1}, "does not know: extra"),
    ],
)
def test_wrong_parts_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        decode(Outer, GOOD | change)


def test_a_choice_that_json_cannot_tell_apart_is_refused():
    with pytest.raises(TypeError, match="2 types"):
        decode(int | str, 3)  # type: ignore[arg-type]
