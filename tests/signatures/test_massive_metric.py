"""Massive activations over batches of unpooled hidden states, against the pure function and a naive loop."""

import numpy as np
import pytest
import torch

import lightning_robust.signatures.massive_metric as massive_metric
from lightning_robust.signatures import MassiveActivations, massive_activations


def tokens(n=12, t=5, d=8):
    """Tokens of a transformer: small values, here and there a massive one."""
    hidden = torch.randn(n, t, d, generator=torch.Generator().manual_seed(0)) * 0.1
    hidden[1, 0, 3] = 150  # massive
    hidden[4, 0, 3], hidden[4, 2, 6] = -400, 130  # two in one image
    hidden[6] *= 30  # a median of about 2
    hidden[6, 0, 0] = 900  # large, but not against its median
    hidden[7, 0, 0] = 99  # far above its median, but not large
    return hidden


def accumulated(*batches, **kwargs):
    metric = MassiveActivations(**kwargs)
    for batch in batches:
        metric.update(batch)
    return metric.compute()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_equals_the_pure_function(dtype):
    hidden = tokens().to(dtype)
    report, result = massive_activations(hidden), accumulated(hidden[:5], hidden[5:])
    assert report.per_image.tolist() == [0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    assert float(result["count"]) == 3 / 12
    assert float(result["images"]) == 2 / 12
    assert float(result["largest"]) == float(report.largest.max())
    assert float(result["largest_ratio"]) == float((report.largest / report.median)[[1, 4, 6]].max())
    assert result["n"] == 12


@pytest.mark.parametrize("shape", [(12, 40), (12, 5, 8), (12, 2, 4, 5)])
def test_vectors_tokens_and_maps(shape):
    assert accumulated(tokens().reshape(shape)) == accumulated(tokens())


def test_medians_only_where_a_value_is_large(monkeypatch):
    asked = []
    real = massive_metric.median_magnitudes

    def counted(flat):
        asked.append(len(flat))
        return real(flat)

    monkeypatch.setattr(massive_metric, "median_magnitudes", counted)
    hidden = tokens()
    accumulated(hidden[8:])
    assert asked == []
    accumulated(hidden)
    assert asked == [3]


def test_nothing_large():
    result = accumulated(tokens()[8:])
    assert (result["count"], result["images"]) == (0, 0)
    assert 0 < float(result["largest"]) < 1
    assert result["largest_ratio"].isnan()


def test_half_of_it_zero():
    """After a ReLU the median may be 0: anything large is then massive."""
    hidden = torch.zeros(1, 9)
    hidden[0, 2] = 101
    result = accumulated(hidden)
    assert (result["count"], result["largest_ratio"]) == (1, float("inf"))


def test_another_rule():
    h = torch.tensor([[1.0, 1.0, 11.0]])
    assert accumulated(h, magnitude=10.0, ratio=10.0)["count"] == 1
    assert accumulated(h, magnitude=11.0, ratio=10.0)["count"] == 0
    assert accumulated(h, magnitude=10.0, ratio=11.0)["count"] == 0
    for rule in ({"magnitude": 0.0}, {"ratio": float("nan")}):
        with pytest.raises(ValueError, match="must be positive"):
            MassiveActivations(**rule)


def test_a_hidden_state_that_is_not_finite_is_left_out():
    hidden = tokens()
    hidden[0, 0, 0], hidden[4, 3, 3] = float("nan"), -float("inf")
    result = accumulated(hidden)
    assert (result["n"], result["not_finite"]) == (12, 2)
    assert (float(result["count"]), float(result["largest"])) == (1 / 10, 900)
    report = massive_activations(hidden)
    assert report.largest.isnan().tolist() == report.median.isnan().tolist() == [i in (0, 4) for i in range(12)]
    assert report.per_image.tolist() == [0, 1] + [0] * 10


@pytest.mark.parametrize("k", [1, 2, 9, 40])
def test_median_equals_numpy(k):
    values = np.random.default_rng(k).normal(size=(6, k))
    result = massive_metric.median_magnitudes(torch.from_numpy(values))
    np.testing.assert_array_equal(result, np.median(np.abs(values), axis=1))
