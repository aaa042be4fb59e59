"""Which figures are read, and on which scale."""

import math

import pytest

from lightning_robust.robustness.diagnosis_predictors import PREDICTORS, RIVALS, is_logged, on_scale
from lightning_robust.robustness.reference_figures import REFERENCE_ONLY


def test_everything_read_comes_from_reference_images_alone():
    assert set(PREDICTORS) | set(RIVALS) <= set(REFERENCE_ONLY)
    assert len(set(PREDICTORS)) == len(PREDICTORS) <= 8
    assert len(set(RIVALS)) == len(RIVALS)


def test_ratios_are_logged_shares_and_counts_are_not():
    assert [tag for tag in PREDICTORS if not is_logged(tag)] == ["confidence/mean", "confidence/accuracy"]
    assert is_logged("neuron_norm_kurtosis/last")
    assert not is_logged("outliers/h")
    assert not is_logged("importance/raw/privileged")


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        ("kurtosis/h", math.e, 1.0),
        ("kurtosis/h", -1.0, math.nan),
        ("kurtosis/h", math.inf, math.nan),
        ("rankme/h", math.nan, math.nan),
        ("confidence/mean", 0.0, 0.0),
        ("confidence/overconfidence", -0.25, -0.25),
        ("confidence/mean", -math.inf, math.nan),
    ],
)
def test_scales(tag, value, expected):
    assert on_scale(tag, value) == pytest.approx(expected, nan_ok=True)
