"""Padding, and synchronisation with ranks that are played by other instances in this process."""

import re

import pytest
import torch

from lightning_robust.signatures import (
    ActivationKurtosis,
    ConceptAveragePrecision,
    DirectionImportance,
    FeatureSpectrum,
    ImportanceControls,
    MassiveActivations,
    OutlierFeatures,
    neurons,
)
from lightning_robust.signatures.mergeable import check_widths, pad_trailing

H = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3
Y = torch.randint(-1, 2, (30, 2), generator=torch.Generator().manual_seed(1))


def test_padding_keeps_first_sizes_and_values():
    a, b, c = pad_trailing([torch.ones(2, 3, 1), torch.ones(0, 0, 0), torch.ones(5, 1, 4)])
    assert [tuple(part.shape) for part in (a, b, c)] == [(2, 3, 4), (0, 3, 4), (5, 3, 4)]
    assert a[..., 0].eq(1).all()
    assert not a[..., 1:].any()
    assert c[:, 0].eq(1).all()
    assert c.sum() == 20


def test_widths_are_one_or_none():
    check_widths([torch.ones(2, 4, 4), torch.ones(1, 0, 0), torch.ones(5, 4, 4)])
    check_widths([torch.ones(2), torch.ones(0)])
    with pytest.raises(ValueError, match="figures of 3 features and of 4 cannot be merged"):
        check_widths([torch.ones(1, 4), torch.ones(1, 0), torch.ones(1, 3)])
    with pytest.raises(ValueError, match="figures of 2 features and of 3 cannot be merged"):
        check_widths([torch.ones(1, 3, 3), torch.ones(1, 4, 4)], border=1)


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


@pytest.mark.parametrize("make", [OutlierFeatures, FeatureSpectrum, ActivationKurtosis])
@pytest.mark.parametrize("as_state", [False, True], ids=["instance", "state"])
def test_two_widths_are_not_merged_and_nothing_is_lost(make, as_state):
    narrow, wide = make(), make()
    narrow.update(H[:, :5])
    wide.update(H)
    before = narrow.compute()
    with pytest.raises(ValueError, match="figures of 5 features and of 6 cannot be merged"):
        narrow.merge_state(wide.metric_state if as_state else wide)
    narrow._computed = None
    for key, value in narrow.compute().items():
        assert torch.equal(value.nan_to_num(-1), before[key].nan_to_num(-1)), key


@pytest.mark.parametrize("make", [OutlierFeatures, FeatureSpectrum, ActivationKurtosis])
def test_two_widths_are_not_gathered_from_ranks(make):
    narrow, wide = make(), make()
    narrow.update(H[:, :5])
    wide.update(H)
    asked = iter([_sendable(wide, name) for name in wide.metric_state])
    with pytest.raises(ValueError, match="figures of 5 features and of 6 cannot be merged"):
        narrow.sync(dist_sync_fn=lambda state, group: [state, next(asked)], distributed_available=lambda: True)


W = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))

OTHERS = {
    "threshold (6.0 and 3.0)": (OutlierFeatures, OutlierFeatures(3.0)),
    "min_share (0.06 and 0.5)": (OutlierFeatures, OutlierFeatures(min_share=0.5)),
    "magnitude (100.0 and 9.0)": (MassiveActivations, MassiveActivations(9.0)),
    "ratio (1000.0 and 10.0)": (MassiveActivations, MassiveActivations(ratio=10.0)),
    "head": (lambda: DirectionImportance(W), DirectionImportance(W * 2)),
    "centred (False and True)": (lambda: DirectionImportance(W), DirectionImportance(W, centred=True)),
    "seeds ((0, 1) and (0, 2))": (lambda: ImportanceControls(W, (0, 1)), ImportanceControls(W, (0, 2))),
    "unit_norm (True and False)": (lambda: ImportanceControls(W), ImportanceControls(W, unit_norm=False)),
}


@pytest.mark.parametrize("setting", OTHERS)
def test_other_settings_are_not_merged(setting):
    make, other = OTHERS[setting]
    metric = make()
    for one in (metric, other):
        one.update(H)
    with pytest.raises(ValueError, match=re.escape(f"with another {setting} cannot be merged")):
        metric.merge_state(other)
    twin = make()
    twin.update(H)
    metric.merge_state(twin)
    assert int(metric.compute()["n"]) == 60


def test_settings_of_several_tensors_are_compared_one_by_one():
    class Bases(FeatureSpectrum):
        settings = ("bases",)

        def __init__(self, **bases):
            super().__init__()
            self.bases = bases

    same = {"a": H, "b": Y}
    Bases(**same).merge_state(Bases(a=H.clone(), b=Y.clone()))
    for other in ({"a": H}, {"a": H, "c": Y}, {"a": H, "b": Y + 1}, {"a": H.float(), "b": Y}, {"a": H[:5], "b": Y}):
        with pytest.raises(ValueError, match="with another bases cannot be merged"):
            Bases(**same).merge_state(Bases(**other))


def test_a_metric_of_another_class_cannot_be_merged():
    with pytest.raises(ValueError, match="instance of FeatureSpectrum"):
        FeatureSpectrum().merge_state(ActivationKurtosis())
