"""Which outlier features persist, appear and vanish, by hand and by the laws of sets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures import compare_outliers, follow_outliers, outlier_features

sets = st.sets(st.integers(0, 12), max_size=6)


def test_a_history_by_hand():
    found = follow_outliers([(0, [5, 2]), (1, [2, 9]), (2, []), (3, [9, 2, 5])])
    first, second, third, fourth = found.moments
    assert [moment.label for moment in found.moments] == [0, 1, 2, 3]
    assert (first.indices, first.since_before) == ((2, 5), None)
    assert (first.since_first.persisted, first.since_first.jaccard) == ((2, 5), 1)
    before = second.since_before
    assert (before.persisted, before.appeared, before.vanished, before.jaccard) == ((2,), (9,), (5,), 1 / 3)
    assert (third.since_before.vanished, third.since_before.jaccard) == ((2, 9), 0)
    assert fourth.since_before.appeared == (2, 5, 9)
    assert (fourth.since_first.persisted, fourth.since_first.appeared) == ((2, 5), (9,))
    assert fourth.since_first.jaccard == 2 / 3
    assert {h.feature: h.moments for h in found.features} == {2: (0, 1, 3), 5: (0, 3), 9: (1, 3)}
    assert found.always == ()


@settings(max_examples=50, derandomize=True)
@given(sets, sets)
def test_laws(old, new):
    change, back = compare_outliers(old, new), compare_outliers(new, old)
    assert set(change.persisted) | set(change.vanished) == old
    assert set(change.persisted) | set(change.appeared) == new
    assert len(change.persisted) + len(change.appeared) + len(change.vanished) == len(old | new)
    assert (back.persisted, back.appeared, back.vanished) == (change.persisted, change.vanished, change.appeared)
    assert change.jaccard == back.jaccard
    assert (change.jaccard == 1) == (old == new)


@settings(max_examples=50, derandomize=True)
@given(st.lists(sets, max_size=6))
def test_histories_tell_the_same_as_the_moments(measured):
    found = follow_outliers([(f"α = {i}", indices) for i, indices in enumerate(measured)])
    assert [set(moment.indices) for moment in found.moments] == measured
    for history in found.features:
        assert history.moments == tuple(m.label for m in found.moments if history.feature in m.indices)
    assert {history.feature for history in found.features} == set().union(*measured)
    assert set(found.always) == (set.intersection(*measured) if measured else set())


def test_nothing():
    assert compare_outliers([], []).jaccard == 1
    found = follow_outliers([])
    assert (found.moments, found.features, found.always) == ((), (), ())


def test_planted_outliers_are_followed():
    h = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    reports = []
    for feature in (3, 8):
        planted = h.clone()
        planted[:, feature] *= 300
        reports.append(outlier_features(planted))
    found = follow_outliers([(epoch, report.indices) for epoch, report in enumerate(reports)])
    assert (found.moments[1].since_before.appeared, found.moments[1].since_before.vanished) == ((8,), (3,))


@pytest.mark.parametrize(
    "indices", [(3, 7), np.array([3, 7]), np.array([7, 3], dtype=np.uint8), torch.tensor([3, 7]), range(3, 8, 4)]
)
def test_integers_of_any_kind(indices):
    assert compare_outliers(indices, [7]).vanished == (3,)


@pytest.mark.parametrize(
    ("indices", "kind"),
    [
        ([True, False], "bool"),
        (np.array([True, False]), "bool"),
        (torch.tensor([True, False]), "bool"),
        ([1.5], "float"),
        (torch.tensor([1.0, 2.0]), "float32"),
        (np.array([1.0]), "float64"),
    ],
)
def test_a_mask_or_a_number_with_a_fraction_is_no_index(indices, kind):
    for call in (lambda: compare_outliers([1], indices), lambda: follow_outliers([(0, indices)])):
        with pytest.raises(TypeError, match=f"positions, integers, not {kind}|(?i:type-check)"):
            call()


def test_a_negative_index():
    with pytest.raises(ValueError, match="not -1"):
        follow_outliers([(0, [-1, 4])])
