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


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5, 1e6, 1e7])
@pytest.mark.parametrize("n", [300, 12])
@pytest.mark.parametrize("decay", [0.0, 3.0])
def test_a_large_mean_hides_no_eigenvalue(mean, n, decay):
    """Against singular values of the images themselves, which know nothing of moments."""
    generator = np.random.default_rng(0)
    h = generator.normal(size=(n, 20)) * np.logspace(0, -decay, 20) + mean * generator.normal(size=20)
    result = spectrum(*np.split(h, [5, n // 2]))
    singular = np.linalg.svd(h, compute_uv=False) / math.sqrt(n)
    got = result["eigenvalues"].sqrt().numpy()
    want = np.zeros(20)
    want[: len(singular)] = singular
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=5e-15 * singular[0])
    assert int((got > 0).sum()) == min(n, 20)
    # a mean that dominates leaves a RankMe near 1: what is above it is the figure
    assert float(result["rankme"]) - 1 == pytest.approx(entropy_rank(singular) - 1, rel=1e-6)


def test_a_mean_within_the_span_of_few_images_adds_no_rank():
    """Also where only rounding is left outside of it: 5 dimensions, a mean among them."""
    generator = np.random.default_rng(0)
    frame = np.linalg.qr(generator.normal(size=(100, 5)))[0].T
    for mean in (1.0, 1e3, 1e6):
        h = (generator.normal(size=(300, 5)) + mean) @ frame
        result = spectrum(h[:100], h[100:])
        assert int((result["eigenvalues"] > 0).sum()) == 5
        singular = np.linalg.svd(h, compute_uv=False)[:5]
        np.testing.assert_allclose(result["eigenvalues"][:5].sqrt(), singular / math.sqrt(300), rtol=1e-6)


def test_the_same_image_many_times_has_one_direction():
    h = np.random.default_rng(0).normal(size=(1, 20)).repeat(40, axis=0)
    assert int((spectrum(h)["eigenvalues"] > 0).sum()) == 1
    assert float(spectrum(h)["rankme"]) == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-90, 1e90])
def test_ranks_of_very_small_and_very_large_features(scale):
    h = np.random.default_rng(0).normal(size=(50, 8)) + 1
    small, base = spectrum(h * scale), spectrum(h)
    for key in ("rankme", "covariance_effective_rank", "participation_ratio"):
        assert float(small[key]) == pytest.approx(float(base[key]), rel=1e-9)


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
