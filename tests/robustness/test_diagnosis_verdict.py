"""What may be said, and in which words."""

import math

import pytest

from lightning_robust.results import Interval
from lightning_robust.results.diagnosis_record import Coverage, PredictorSkill
from lightning_robust.robustness.diagnosis_verdict import (
    calibration_limits,
    calibration_usable,
    contributions_said,
    verdict,
)

GOOD = Interval(0.8, 0.6, 0.9, 0.95, 2000, 0)
UNCLEAR = Interval(0.2, -0.1, 0.5, 0.95, 2000, 0)
WRONG = Interval(-0.6, -0.8, -0.3, 0.95, 2000, 0)
NONE = Interval(math.nan, math.nan, math.nan, 0.95, 2000, 0)


def skill(**changes):
    return PredictorSkill(
        **{
            "name": "diagnosis", "role": "diagnosis", "figures": ("a",), "correlation": GOOD, "r_squared": 0.6,
            "between_families": GOOD, "within_families": GOOD, "rows": 60, "families": 12, "pretrained": GOOD,
            "coverage": Coverage(held=55, total=60, low=0.82, high=0.96, nominal=0.9),
            "coverage_by_family": Coverage(held=11, total=12, low=0.65, high=0.99, nominal=0.9),
        } | changes
    )  # fmt: skip


def test_a_good_table_is_usable_and_has_no_limits():
    assert calibration_usable(skill()) == (True, ())
    assert calibration_limits(skill(), [skill(name="x", correlation=UNCLEAR)]) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"families": 9}, "The table has 9 families; below 10 no verdict is given."),
        (
            {"correlation": UNCLEAR},
            "Predictions without the own family do not rank the rows: Spearman 0.20 (95 % interval −0.10 to 0.50).",
        ),
        ({"correlation": WRONG}, "Spearman −0.60 (95 % interval −0.80 to −0.30)."),
        ({"correlation": NONE}, "do not rank the rows: Spearman –."),
        (
            {"coverage_by_family": Coverage(held=6, total=12, low=0.25, high=0.75, nominal=0.9)},
            "Its intervals are too narrow: they held 6 of 12 families, and 90 % was aimed at.",
        ),
    ],
)
def test_what_forbids_a_verdict(changes, said):
    usable, reasons = calibration_usable(skill(**changes))
    assert not usable
    assert len(reasons) == 1
    assert reasons[0].endswith(said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"r_squared": -0.12}, "no nearer than the mean of the other families (R² −0.12)"),
        ({"between_families": UNCLEAR}, "not known to rank families by their means"),
        ({"pretrained": UNCLEAR}, "Among pretrained models alone it is not known to rank"),
        ({"within_families": UNCLEAR}, "not known to rank models of one family"),
        ({"within_families": NONE}, "not known to rank models of one family, as along a path: Spearman –."),
        ({"within_families": WRONG}, "Inside a family it ranks the wrong way round"),
    ],
)
def test_what_limits_a_table(changes, said):
    limits = calibration_limits(skill(**changes), ())
    assert len(limits) == 1
    assert said in limits[0]
    assert calibration_usable(skill(**changes))[0]


def test_a_rival_that_ranks_no_worse_is_named():
    limits = calibration_limits(skill(), [skill(name="confidence/mean"), skill(name="rankme/h", correlation=UNCLEAR)])
    assert [limit.split(" alone")[0] for limit in limits] == ["confidence/mean"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.05, 0.2, "robust"),
        (0.04, 0.2, "undetermined"),
        (-0.1, 0.03, "not robust"),
        (-0.1, 0.04, "undetermined"),
        (-math.inf, math.inf, "undetermined"),
    ],
)
def test_the_interval_against_the_margin(low, high, expected):
    assert verdict(low, high, 0.04, 0.9, ())[0] == expected
    assert verdict(low, high, 0.04, 0.9, ("something",))[0] == "undetermined"


def test_words():
    assert verdict(-math.inf, math.inf, 0.04, 0.9, ())[1] == (
        "The 90 % interval, −∞ to +∞ points, holds +4.0, which a standard model may show by chance."
    )
    assert contributions_said({"a": 0.02}) == "Moved most from the mean of the table by a (+2.0 points)."
