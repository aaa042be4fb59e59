"""Records of baselines and of effective robustness: there and back, strict JSON, and refusals."""

import json
import math

import pytest

from lightning_robust.errors import UserError
from lightning_robust.results import (
    BaselineRecord,
    EffectiveRobustness,
    Interval,
    ModelAccuracies,
    ShiftRobustness,
    collect_provenance,
    read_baseline,
    write_baseline,
)
from lightning_robust.results.codec import decode, encode

RECORD = BaselineRecord(
    name="mine",
    description="two models",
    protocols={"reference": "top-1"},
    images={"reference": 100, "art": 50, "matched/art": 40},
    scale="logit",
    x="full",
    aggregate="er",
    models=(
        ModelAccuracies("a", 0.5, {"art": 0.25}, {"art": 0.6}, "standard", "0" * 64, "seed 0"),
        ModelAccuracies("b", 1.0, {"art": 0.0}),
    ),
    provenance=collect_provenance(threads=1),
)


def part(estimate, interval, prediction):
    return ShiftRobustness(
        accuracy=0.5,
        expected=0.5 - estimate,
        estimate=estimate,
        interval=interval,
        prediction=prediction,
        extrapolated=False,
    )


def test_there_and_back(tmp_path):
    write_baseline(RECORD, tmp_path / "mine.json")
    assert read_baseline(tmp_path / "mine.json") == RECORD
    assert json.loads((tmp_path / "mine.json").read_text())["kind"] == "baseline"


def test_refusals(tmp_path):
    with pytest.raises(UserError, match=r"no results at .*missing.json: fit-baseline --out writes"):
        read_baseline(tmp_path / "missing.json")
    data = encode(RECORD)
    for change, message in (
        ({"schema_version": 2}, "newer"),
        ({"schema_version": 0}, "no schema_version"),
        ({"kind": "probe"}, "is not a baseline: it says that it is 'probe'"),
        ({"models": 3}, "models should be a list"),
        ({"surprise": 1}, "does not know: surprise"),
        ({"images": {"reference": "many"}}, "should be int"),
    ):
        (tmp_path / "odd.json").write_text(json.dumps(data | change))
        with pytest.raises(UserError, match=message):
            read_baseline(tmp_path / "odd.json")


def test_effective_robustness_there_and_back():
    interval = Interval(0.1, 0.05, 0.15, level=0.95, replicates=2000, seed=0)
    record = EffectiveRobustness(
        shifts={"art": part(0.1, interval, interval), "sketch": part(0.2, None, None)},
        mean=part(0.15, interval, None),
        baseline="mine",
        scale="logit",
        x="full",
        aggregate="er",
    )
    assert decode(EffectiveRobustness, json.loads(json.dumps(encode(record)))) == record


@pytest.mark.parametrize(("low", "beyond"), [(0.01, True), (0.0, False), (-0.1, False)])
def test_beyond_standard_is_all_above_zero(low, beyond):
    assert part(0.1, None, Interval(0.1, low, 0.2, 0.95, 10, 0)).beyond_standard is beyond
    assert part(0.1, None, None).beyond_standard is None
    assert math.isclose(part(0.1, None, None).expected, 0.4)
