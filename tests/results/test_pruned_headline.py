"""The record of a headline: through JSON and back, and what it derives."""

import dataclasses
import json

import pytest

from lightning_robust.results import Interval, PrunedHeadline
from lightning_robust.results.codec import decode, encode


def headline(**change):
    interval = Interval(0.75, 0.5, 0.8, level=0.95, replicates=2000, seed=0)
    fields = {
        "fraction": interval,
        "kept": 5,
        "unbroken": dataclasses.replace(interval, estimate=0.6),
        "unbroken_kept": 8,
        "total": 20,
        "points": 0.01,
        "unpruned": 0.8125,
        "accuracy": 0.8046875,
        "images": {"photo": 256, "sketch": 128},
    }
    return PrunedHeadline(**fields | change)


def test_through_json_and_back():
    written = json.dumps(encode(headline()))
    assert decode(PrunedHeadline, json.loads(written)) == headline()
    assert "Interval" not in written
    with pytest.raises(ValueError, match="lacks parts"):
        decode(PrunedHeadline, {})


def test_loss():
    assert headline().loss == 0.0078125
    assert headline(accuracy=0.875).loss == -0.0625  # pruning helped
