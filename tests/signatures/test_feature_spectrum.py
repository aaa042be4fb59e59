"""Spectrum of the features: uncentred against centred, few images, bad values."""

import math

import numpy as np
import pytest
import torch

from lightning_robust.signatures import FeatureSpectrum


def spectrum(*batches):
    metric = FeatureSpectrum()
    for batch in batches:
        metric.update(torch.as_tensor(batch, dtype=torch.float64))
    return metric.compute()


def entropy_rank(values):
    p = values[values > 0] / values.sum()
    return math.exp(-(p * np.log(p)).sum())


def test_uncentred_and_centred_differ_by_the_mean():
    h = np.random.default_rng(0).normal(size=(300, 20)) + 5
    result = spectrum(h[:100], h[100:])
    raw = np.linalg.eigvalsh(h.T @ h / 300)[::-1]
    centred = np.linalg.eigvalsh(np.cov(h.T, bias=True))[::-1]
    np.testing.assert_allclose(result["eigenvalues"], raw, rtol=1e-10)
    np.testing.assert_allclose(result["covariance_eigenvalues"], centred, rtol=1e-10)
    assert float(result["rankme"]) == pytest.approx(entropy_rank(np.sqrt(raw)), rel=1e-10)
    assert float(result["covariance_effective_rank"]) == pytest.approx(entropy_rank(np.sqrt(centred)), rel=1e-10)
    assert float(result["covariance_effective_rank"]) > 1.5 * float(result["rankme"])


def test_fewer_images_than_features():
    """Rounding in the null space must not count: √1e-16 would be 1e-8 of the largest, many times."""
    h = np.random.default_rng(0).normal(size=(6, 200))
    result = spectrum(h)
    singular = np.linalg.svd(h, compute_uv=False)
    assert int((result["eigenvalues"] > 0).sum()) == 6
    assert int((result["covariance_eigenvalues"] > 0).sum()) == 5
    assert float(result["rankme"]) == pytest.approx(entropy_rank(singular), rel=1e-10)


def test_one_image_has_no_covariance():
    result = spectrum([[1.0, 2.0, 2.0]])
    assert result["eigenvalues"].tolist() == pytest.approx([9, 0, 0])
    assert float(result["rankme"]) == pytest.approx(1)
    assert not result["covariance_eigenvalues"].any()
    assert result["participation_ratio"].isnan()


def test_participation_ratio_by_hand():
    corners = [[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]]  # eigenvalues 9 and 1
    assert float(spectrum(corners)["participation_ratio"]) == pytest.approx(100 / 82)


def test_images_that_are_not_finite_are_left_out():
    result = spectrum([[1.0, float("nan")], [3.0, 1.0]], [[3.0, -1.0]])
    assert result["eigenvalues"].tolist() == [9, 1]
    assert (result["n"], result["not_finite"]) == (3, 1)


def test_nothing_finite_gives_nan():
    result = spectrum([[1.0, float("nan")], [float("inf"), 1.0]])
    assert all(result[key].isnan().all() for key in result.keys() - {"n", "not_finite"})
    assert (result["n"], result["not_finite"]) == (2, 2)


def test_moments_are_there_for_others():
    metric = FeatureSpectrum()
    with pytest.raises(RuntimeError, match="no features"):
        metric.moments()
    metric.update(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    assert metric.moments().mean.tolist() == [2, 0]
