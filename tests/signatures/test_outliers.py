"""Outlier features on planted ones, at the borders of the rule."""

import numpy as np
import pytest
import torch

from lightning_robust.signatures import OutlierFeatures, neuron_norm_kurtosis, outlier_features, outlier_report


def gaussian(n=100, d=128):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def far_out(n, d, images, feature=2):
    """A feature that is 40 on the first images, where |z| ≈ √(d − 1) whatever the noise."""
    h = gaussian(n, d) * 0.01
    h[:images, feature] = 40
    return h


def test_a_planted_outlier_moves_every_figure():
    h = gaussian()
    planted = h.clone()
    planted[:, 5] *= 30
    before, after = outlier_features(h), outlier_features(planted)
    assert (before.count, before.indices, before.share) == (0, (), 0)
    assert (after.count, after.indices) == (1, (5,))
    squares = planted.double().square().sum(dim=0)
    assert after.share == pytest.approx(float(squares[5] / squares.sum()), rel=1e-12)
    assert after.neuron_norm_kurtosis > 10 * before.neuron_norm_kurtosis
    assert float(after.per_feature_rate[5]) > 0.5
    assert not before.per_feature_rate.any()
    assert (after.n, after.d, after.defined) == (100, 128, True)


@pytest.mark.parametrize(("images", "count"), [(5, 0), (6, 1), (7, 1)])
def test_exactly_six_percent_is_enough(images, count):
    assert outlier_features(far_out(100, 64, images)).count == count


@pytest.mark.parametrize(("d", "defined"), [(2, False), (37, False), (38, True)])
def test_undefined_for_few_features(d, defined):
    """|z| ≤ √(d − 1), so 37 features cannot exceed 6."""
    report = outlier_features(far_out(50, d, 50, feature=0))
    assert report.defined is defined
    assert np.isnan(report.count) == np.isnan(report.share) == (not defined)
    assert report.indices == ((0,) if defined else ())
    assert report.neuron_norm_kurtosis == pytest.approx(d, rel=1e-2)


def test_another_threshold_has_another_border():
    assert outlier_features(far_out(50, 10, 50, feature=0), threshold=3.0).defined is False
    assert outlier_features(far_out(50, 11, 50, feature=0), threshold=3.0).indices == (0,)


def test_constant_images_have_no_outliers():
    report = outlier_features(torch.full((10, 64), 0.1))
    assert report.count == 0
    assert not report.per_feature_rate.any()


def test_neuron_norm_kurtosis_by_hand():
    assert float(neuron_norm_kurtosis(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))) == 1
    assert float(neuron_norm_kurtosis(torch.tensor([[2.0, 0.0, 0.0, 0.0]]))) == 4
    # m = (1, 3): (1 + 9)/2 over 2²
    assert float(neuron_norm_kurtosis(torch.tensor([[1.0, 3.0**0.5]]))) == pytest.approx(1.25, rel=1e-6)
    assert neuron_norm_kurtosis(torch.zeros(3, 4)).isnan()


def test_images_that_are_not_finite_are_left_out_and_counted():
    """Two of a hundred images lost: the rule asks for a share of those that are left."""
    h = far_out(100, 64, 6)
    clean = outlier_features(h[:98])
    h[98, 0], h[99, 1] = float("nan"), float("inf")
    report = outlier_features(h)
    assert (report.n, report.not_finite, clean.not_finite) == (100, 2, 0)
    assert (report.count, report.indices, report.share) == (clean.count, clean.indices, clean.share)
    assert torch.equal(report.per_feature_rate, clean.per_feature_rate)
    assert float(report.per_feature_rate[2]) == 6 / 98
    assert report.neuron_norm_kurtosis == clean.neuron_norm_kurtosis == float(neuron_norm_kurtosis(h))


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-90, 1e90, 1e170, 1e300])
def test_very_small_and_very_large_features(scale):
    h = far_out(100, 64, 6).double()
    base, found = outlier_features(h), outlier_features(h * scale)
    assert found.count == base.count
    assert torch.equal(found.per_feature_rate, base.per_feature_rate)
    assert float(neuron_norm_kurtosis(h * scale)) == pytest.approx(float(neuron_norm_kurtosis(h)), rel=1e-12)
    if 1e-150 < scale < 1e150:
        assert found.share == pytest.approx(base.share, rel=1e-12)
        assert found.neuron_norm_kurtosis == pytest.approx(base.neuron_norm_kurtosis, rel=1e-12)
    else:
        assert np.isnan([found.share, found.neuron_norm_kurtosis]).all()


def test_nothing_finite_has_no_figures():
    report = outlier_features(torch.full((3, 64), float("nan")))
    assert np.isnan([report.count, report.share, report.neuron_norm_kurtosis]).all()
    assert (report.indices, report.n, report.not_finite, report.defined) == ((), 3, 3, True)


def test_one_image_and_one_feature():
    h = far_out(1, 64, 1)
    assert outlier_features(h).indices == (2,)
    alone = outlier_features(torch.tensor([[2.0], [-3.0]]))
    assert (alone.d, alone.defined, alone.neuron_norm_kurtosis) == (1, False, 1)


def test_zeros_have_no_share():
    report = outlier_features(torch.zeros(4, 64))
    assert (report.count, report.indices) == (0, ())
    assert np.isnan(report.share)


def test_updates_without_images():
    metric = OutlierFeatures()
    metric.update(torch.zeros(0, 64))
    report = outlier_report(metric.compute())
    assert (report.n, report.indices) == (0, ())
    assert np.isnan(report.count)


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"threshold": 0}, "threshold"),
        ({"min_share": 0}, "min_share"),
        ({"min_share": 1.1}, "min_share"),
        ({"threshold": float("nan")}, "threshold"),
    ],
)
def test_rules_out_of_range(kwargs, word):
    with pytest.raises(ValueError, match=word):
        OutlierFeatures(**{key: float(value) for key, value in kwargs.items()})


def test_no_images():
    with pytest.raises(ValueError, match="no rows"):
        outlier_features(torch.zeros(0, 64))
