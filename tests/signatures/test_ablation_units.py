"""Which units are ablated, and what is known of each, against numpy and the importance that is there already."""

import math

import numpy as np
import pytest
import torch

from lightning_robust.signatures import centre_head, direction_importance
from lightning_robust.signatures.ablation import feature_axes
from lightning_robust.signatures.ablation_units import feature_ranking, mean_z_scores, random_members, unit_figures


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(n=100, d=64):
    """Feature 9 far out on all images, 20 on a tenth of them, 30 often large but never beyond 6."""
    h = numbers(n, d)
    h[:, 9] = 80
    h[: n // 10, 20] = 80
    h[:, 30] *= 3
    return h


def test_mean_z_is_numpys():
    h = planted()
    h[3] = 2.5
    rows = h.double().numpy()
    with np.errstate(invalid="ignore"):
        z = np.abs(rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    expected = np.where(np.isfinite(z), z, 0).mean(axis=0)
    np.testing.assert_allclose(mean_z_scores(h).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(mean_z_scores(h.double() * 1e200).numpy(), expected, atol=1e-12)
    broken = torch.cat([h, torch.full((2, 64), math.nan)])
    np.testing.assert_allclose(mean_z_scores(broken).numpy(), expected, atol=1e-12)


def test_outliers_by_the_rule_come_first():
    found = feature_ranking(planted())
    assert found.report.indices == (9,)  # the others' z suffers from feature 9
    assert found.order[0] == 9
    assert sorted(found.order) == list(range(64))
    h = planted()
    h[:, 9] = 0
    found = feature_ranking(h)
    assert found.report.indices == (20,)
    assert found.order[:2] == (20, 30)
    # without any, by mean |z| alone: feature 30, though 20 is beyond 6 now and then
    h[3:, 20] = 0
    found = feature_ranking(h)
    assert found.report.indices == ()
    assert float(found.report.per_feature_rate[20]) > 0
    assert found.order[0] == 30
    assert found.order[1] == int(found.mean_z.argsort(descending=True)[1])


def test_a_narrow_layer_has_a_ranking_and_no_rule():
    h = numbers(30, 12)
    h[:, 5] += 9
    found = feature_ranking(h)
    assert (found.report.defined, found.report.indices, found.order[0]) == (False, (), 5)


@pytest.mark.parametrize("centred", [False, True])
def test_importance_of_a_singular_vector_is_that_of_the_signature(centred):
    head, h = numbers(7, 12, seed=1) + 1, numbers(80, 12, seed=2)
    report = direction_importance(head, h, centred=centred)
    found = unit_figures(h, report.directions, head, centred=centred)
    torch.testing.assert_close(found.importance, report.normalised, rtol=0, atol=1e-12)


def test_shares_are_of_the_squared_norm():
    h = planted()
    found = unit_figures(h, feature_axes(64, list(range(64))))
    squares = h.double().square().sum(dim=0)
    torch.testing.assert_close(found.share, squares / squares.sum(), rtol=0, atol=1e-12)
    assert float(found.share.sum()) == pytest.approx(1)
    assert bool(found.importance.isnan().all())
    assert bool(found.common.isnan().all())


def test_what_classes_share_is_told_from_what_they_do_not():
    head, h = numbers(6, 9, seed=1).double() + 3, numbers(20, 9)
    units = feature_axes(9, [0, 4])
    added = (head @ units).numpy()
    expected = 1 - ((added - added.mean(axis=0)) ** 2).sum(axis=0) / (added**2).sum(axis=0)
    for centred in (False, True):
        np.testing.assert_allclose(unit_figures(h, units, head, centred=centred).common.numpy(), expected, atol=1e-12)
    assert float(unit_figures(h, units, centre_head(head)).common.max()) < 1e-20
    head[:, 0] = 0
    assert math.isnan(float(unit_figures(h, units, head).common[0]))


def test_random_members_are_others_and_a_seed_gives_the_same():
    drawn = random_members(20, {3, 5}, 6, seed=1)
    assert drawn == random_members(20, {3, 5}, 6, seed=1) != random_members(20, {3, 5}, 6, seed=2)
    assert len(set(drawn)) == 6
    assert not {3, 5} & set(drawn)
    assert random_members(4, {0, 1, 2}, 3, seed=0) == (3,)
    assert random_members(2, {0, 1}, 2, seed=0) == ()
    often = [random_members(10, {0}, 1, seed=seed)[0] for seed in range(200)]
    assert set(often) == set(range(1, 10))
