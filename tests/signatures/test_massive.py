"""Massive activations against a naive loop."""

import numpy as np
import pytest
import torch

from lightning_robust.signatures import massive_activations


def naive(hidden):
    mask = np.zeros(hidden.shape, dtype=bool)
    for x in range(len(hidden)):
        median = np.median(np.abs(hidden[x]))
        for place in np.ndindex(hidden[x].shape):
            size = abs(hidden[x][place])
            mask[x][place] = size > 100 and size > 1000 * median
    return mask


def test_equals_a_naive_loop():
    hidden = np.random.default_rng(0).normal(0, 0.1, size=(4, 5, 8))
    hidden[0, 0, 0] = 99  # large ratio, small magnitude
    hidden[1, 2, 3] = -500  # massive
    hidden[2] *= 10  # median about 0.7
    hidden[2, 1, 1] = 400  # large magnitude, small ratio
    hidden[3, 0, :2] = [150, 101]
    report = massive_activations(torch.from_numpy(hidden))
    assert np.array_equal(report.mask.numpy(), naive(hidden))
    assert report.per_image.tolist() == [0, 1, 0, 2]
    np.testing.assert_allclose(report.median, np.median(np.abs(hidden).reshape(4, -1), axis=1), rtol=1e-12)
    assert report.largest.tolist() == [99, 500, 400, 150]


def test_the_median_is_over_the_whole_hidden_state():
    """A token of small values beside one of large ones: per token the first would hold a massive activation."""
    hidden = torch.full((1, 2, 9), 1.0)
    hidden[0, 0] = 0.01
    hidden[0, 0, 0] = 200
    hidden[0, 1] = 5.0
    assert massive_activations(hidden).per_image.tolist() == [0]
    assert massive_activations(hidden[:, 0]).per_image.tolist() == [1]


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="hold values"):
        massive_activations(torch.zeros(2, 0))
