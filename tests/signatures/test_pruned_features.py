"""Zeroed features: against zeroing and normalising for each count, massive features, and what is refused."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.models.class_mask import ClassMask, largest_class
from lightning_robust.signatures import NO_CLASS, unpruned_predictions, zeroed_predictions
from lightning_robust.signatures.reduced_rank import read_by_head


@pytest.fixture
def unchecked_shapes():
    """What a user sees: jaxtyping checks shapes under pytest only, the function's own check comes after."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def head_and_features(C=9, d=14, n=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(C, d, generator=generator)
    h = torch.randn(n, d, generator=generator) * torch.rand(d, generator=generator)
    h[:, d // 2] += 20  # an outlier feature
    return W, h, torch.randn(C, generator=generator)


def naive(W, h, order, counts, unit_norm, bias=None):
    found = []
    for count in counts:
        left = h.double().numpy().copy()
        left[:, list(order)[:count]] = 0
        if unit_norm:
            norms = np.linalg.norm(left, axis=1, keepdims=True)
            left = np.divide(left, norms, out=np.zeros_like(left), where=norms > 0)
        found.append((left @ W.double().numpy().T + (0 if bias is None else bias.double().numpy())).argmax(axis=1))
    return np.stack(found)


@pytest.mark.parametrize("unit_norm", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("order", [[7], [7, 0, 13, 2], list(range(13, -1, -1)), []])
def test_equals_the_naive_loop(order, with_bias, unit_norm):
    W, h, b = head_and_features()
    bias = b if with_bias else None
    found = zeroed_predictions(W, h, order, unit_norm=unit_norm, bias=bias)
    assert found.shape == (len(order) + 1, 200)
    np.testing.assert_array_equal(found, naive(W, h, order, range(len(order) + 1), unit_norm, bias))
    np.testing.assert_array_equal(found[0], unpruned_predictions(W, read_by_head(h, unit_norm=unit_norm), bias=bias))


def test_zeroing_changes_predictions_here():
    W, h, b = head_and_features()
    found = zeroed_predictions(W, h, list(range(14)), unit_norm=True, bias=b)
    agreement = (found == found[0]).double().mean(dim=1)
    assert agreement[1] > agreement[7]  # the outlier feature is the eighth
    assert agreement[8] < 0.6
    # nothing is left: the bias alone
    assert found[-1].unique().tolist() == [int(b.argmax())]


@given(seed=st.integers(0, 2**16), m=st.integers(0, 14), unit_norm=st.booleans())
@settings(max_examples=25, deadline=None)
def test_laws(seed, m, unit_norm):
    W, h, b = head_and_features(n=20, seed=seed)
    order = torch.randperm(14, generator=torch.Generator().manual_seed(seed))[:m]
    every = zeroed_predictions(W, h, order, unit_norm=unit_norm, bias=b)
    assert torch.equal(every[0], zeroed_predictions(W, h, [], unit_norm=unit_norm, bias=b)[0])
    # all of them at once, in any order
    assert torch.equal(every[-1], zeroed_predictions(W, h, order.flip(0), [m], unit_norm=unit_norm, bias=b)[0])
    alone = torch.cat([zeroed_predictions(W, row[None], order, unit_norm=unit_norm, bias=b) for row in h], dim=1)
    assert torch.equal(alone, every)
    counts = list(range(m, -1, -2))
    assert torch.equal(zeroed_predictions(W, h, order, counts, unit_norm=unit_norm, bias=b), every[counts])
    if unit_norm:  # the scale of an image does not matter then, however large
        scaled = h.double() * torch.logspace(-200, 200, 20, dtype=torch.float64)[:, None]
        assert torch.equal(zeroed_predictions(W, scaled, order, unit_norm=True, bias=b), every)


def test_a_massive_feature_leaves_no_rounding_behind():
    W, h, _ = head_and_features()
    h = h.double()
    small = h[:, [i for i in range(14) if i != 7]]
    want = unpruned_predictions(W[:, [i for i in range(14) if i != 7]], small)
    h[:, 7] *= 1e18  # float64 has 16 digits: nothing of the others would survive a subtraction
    for unit_norm in (False, True):
        found = zeroed_predictions(W, h, [7], unit_norm=unit_norm)
        assert torch.equal(found[1], want)
        assert found[0].unique().tolist() == [int(W[:, 7].argmax())]


def test_masks_equal_classes_and_rows_that_are_not_finite():
    W, h, b = head_and_features()
    mask = ClassMask([(2, 0), (5,)])
    found = zeroed_predictions(W, h, [7, 1], unit_norm=True, bias=b, predict=lambda z: largest_class(mask(z)))
    for row, count in zip(found, range(3), strict=True):
        left = h.double().clone()
        left[:, [7, 1][:count]] = 0
        left /= left.norm(dim=1, keepdim=True)
        assert torch.equal(row, largest_class(mask(left @ W.double().T + b.double())))
    twice = torch.cat([W, W])
    assert torch.equal(
        zeroed_predictions(twice, h, [7, 1], unit_norm=True), zeroed_predictions(W, h, [7, 1], unit_norm=True)
    )
    h[4, 7], h[5, 0] = torch.nan, torch.inf
    for unit_norm in (False, True):
        spoilt = zeroed_predictions(W, h, [7, 1], unit_norm=unit_norm)
        assert (spoilt[:, [4, 5]] == NO_CLASS).all()
        assert (spoilt[:, 6:] != NO_CLASS).all()
    assert zeroed_predictions(W, h[:0], [7, 1], unit_norm=True).shape == (3, 0)


@pytest.mark.usefixtures("unchecked_shapes")
def test_refusals():
    W, h, b = head_and_features()
    for order in ([14], [-1], [3, 3]):
        with pytest.raises(ValueError, match="different features from 0 to 13"):
            zeroed_predictions(W, h, order, unit_norm=True)
    for counts in ([3], [-1], [1, 1], []):
        with pytest.raises(ValueError, match="counts must be different numbers from 0 to 2"):
            zeroed_predictions(W, h, [0, 1], counts, unit_norm=True)
    with pytest.raises(ValueError, match="reads 14 features, not 13"):
        zeroed_predictions(W, h[:, :13], [0], unit_norm=False)
    with pytest.raises(ValueError, match="bias must be finite"):
        zeroed_predictions(W, h, [0], unit_norm=True, bias=b[:3])
