"""Counts on a table of average precisions that can be counted by eye."""

import math

import pytest
import torch

from lightning_robust.signatures import CURVE_THRESHOLDS, THRESHOLDS, count_concepts

NAN = float("nan")
AP = torch.tensor(
    [
        [0.95, 0.90, 0.10, 0.99, NAN],
        [0.91, 0.20, 0.55, 0.99, NAN],
        [0.10, 0.89, 0.30, 0.99, NAN],
        [0.10, 0.10, 0.10, 0.99, NAN],
    ],
    dtype=torch.float64,
)
ELIGIBLE = torch.tensor([True, True, True, False, True])


def test_by_eye():
    counts = count_concepts(AP, ELIGIBLE, thresholds=(0.5, 0.9, 0.96))
    assert counts.unique_concepts == (3, 2, 0)
    assert counts.concepts_per_direction == (5 / 4, 3 / 4, 0)
    assert counts.polysemantic_share[:2] == (2 / 3, 1 / 2)
    assert counts.polysemantic_mean[:2] == (5 / 3, 3 / 2)
    assert counts.monosemantic_share == (1 / 4, 1 / 4, 0)
    assert math.isnan(counts.polysemantic_share[2])
    assert math.isnan(counts.polysemantic_mean[2])
    assert (counts.eligible, counts.excluded, counts.directions) == (4, 1, 4)


def test_mean_best_ap_is_over_the_eligible():
    counts = count_concepts(AP[:, :4], ELIGIBLE[:4])
    assert counts.mean_best_ap == pytest.approx((0.95 + 0.90 + 0.55) / 3)
    assert counts.thresholds == (0.5, 0.6, 0.7, 0.8, 0.9)


def test_curve():
    """Finer, falling, and through the thresholds that are logged."""
    curve = count_concepts(AP[:, :4], ELIGIBLE[:4], CURVE_THRESHOLDS)
    assert (curve.thresholds[0], curve.thresholds[-1], len(curve.thresholds)) == (0.3, 0.95, 14)
    assert curve.unique_concepts == (3,) * 6 + (2,) * 7 + (1,)
    logged = count_concepts(AP[:, :4], ELIGIBLE[:4])
    for threshold, unique in zip(logged.thresholds, logged.unique_concepts, strict=True):
        assert curve.unique_concepts[CURVE_THRESHOLDS.index(threshold)] == unique
    assert set(THRESHOLDS) < set(CURVE_THRESHOLDS)


def test_by_category():
    categories = ["part", "colour", "part", "scene", "texture"]
    counts = count_concepts(AP, ELIGIBLE, thresholds=(0.5, 0.9), categories=categories)
    assert counts.unique_by_category == {"part": (2, 1), "colour": (1, 1), "texture": (0, 0)}
    assert count_concepts(AP, ELIGIBLE).unique_by_category == {}
    with pytest.raises(ValueError, match="5 concepts need as many categories, not 1"):
        count_concepts(AP, ELIGIBLE, categories=["part"])


def test_no_concept_at_all():
    counts = count_concepts(AP[:, :0], ELIGIBLE[:0], thresholds=(0.9,), categories=[])
    assert (counts.unique_concepts, counts.concepts_per_direction, counts.eligible, counts.excluded) == (
        (0,),
        (0,),
        0,
        0,
    )
    assert math.isnan(counts.mean_best_ap)


def test_no_eligible_concept():
    counts = count_concepts(AP, torch.zeros(5, dtype=torch.bool), thresholds=(0.9,))
    assert (counts.unique_concepts, counts.concepts_per_direction, counts.eligible) == ((0,), (0,), 0)
    assert math.isnan(counts.mean_best_ap)


def test_refusals():
    with pytest.raises(ValueError, match="no direction"):
        count_concepts(AP[:0], ELIGIBLE)
    with pytest.raises(ValueError, match=r"\[90\.0\]"):
        count_concepts(AP, ELIGIBLE, thresholds=(0.5, 90.0))
