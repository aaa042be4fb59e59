"""Padding, and synchronisation with ranks that are played by other instances in this process."""

import pytest
import torch

from lightning_robust.signatures import ActivationKurtosis, ConceptAveragePrecision, FeatureSpectrum, neurons
from lightning_robust.signatures.mergeable import pad_trailing

H = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3
Y = torch.randint(-1, 2, (30, 2), generator=torch.Generator().manual_seed(1))


def test_padding_keeps_first_sizes_and_values():
    a, b, c = pad_trailing([torch.ones(2, 3, 1), torch.ones(0, 0, 0), torch.ones(5, 1, 4)])
    assert [tuple(part.shape) for part in (a, b, c)] == [(2, 3, 4), (0, 3, 4), (5, 3, 4)]
    assert a[..., 0].eq(1).all()
    assert not a[..., 1:].any()
    assert c[:, 0].eq(1).all()
    assert c.sum() == 20


def test_vectors_and_scalars_are_left_alone():
    parts = [torch.ones(2), torch.ones(0)]
    assert pad_trailing(parts) == parts


def concepts():
    return ConceptAveragePrecision({"neurons": neurons(6)})


@pytest.mark.parametrize("make", [FeatureSpectrum, ActivationKurtosis, concepts])
@pytest.mark.parametrize("sizes", [(10, 20), (0, 30), (30, 0)])
def test_synchronised_with_a_rank_that_may_have_seen_nothing(make, sizes):
    ranks = [make(), make()]
    whole = make()
    for metric, h, y in [*zip(ranks, H.split(sizes), Y.split(sizes), strict=True), (whole, H, Y)]:
        if len(h):
            metric.update(h, y) if metric.uses_labels else metric.update(h)
    # what the other rank would send, state by state in the order in which torchmetrics asks
    asked = iter([_sendable(ranks[1], name) for name in ranks[1].metric_state])
    ranks[0]._update_count = 1  # torchmetrics warns where this rank has seen nothing
    ranks[0].sync(dist_sync_fn=lambda state, group: [state, next(asked)], distributed_available=lambda: True)
    result, expected = _compute_synced(ranks[0]), whole.compute()
    assert not ranks[0]._is_synced
    assert result.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(result[key], value, rtol=1e-12, atol=1e-12)


def _sendable(metric, name):
    value = getattr(metric, name)
    return value if isinstance(value, torch.Tensor) else metric.rows(name)


def _compute_synced(metric):
    metric._to_sync = False
    return metric.compute()


def test_a_metric_of_another_class_cannot_be_merged():
    with pytest.raises(ValueError, match="instance of FeatureSpectrum"):
        FeatureSpectrum().merge_state(ActivationKurtosis())
