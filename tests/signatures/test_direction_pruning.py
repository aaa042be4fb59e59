"""Direction pruning: against projecting and multiplying for each k, ties, null space, masks, and what it refuses."""

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.models.class_mask import ClassMask, largest_class
from lightning_robust.signatures import (
    NO_CLASS,
    centre_head,
    direction_importance,
    direction_order,
    pruned_predictions,
    random_rotation,
    reduced_rank_predictions,
    reduced_rank_regression,
    unpruned_predictions,
)
from lightning_robust.signatures.bases import thin_svd

SHAPES = [(6, 10), (10, 6), (7, 7), (1, 4), (40, 33), (3, 100)]


@pytest.fixture
def unchecked_shapes():
    """What a user sees: jaxtyping checks shapes under pytest only, the function's own check comes after."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def cone(C, d, n=300, seed=0):
    """A head whose classes share a direction and images that share another, in float32: as CLIP has them."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(C, d, generator=generator) + 2 * torch.randn(d, generator=generator)
    h = torch.randn(n, d, generator=generator) * torch.rand(d, generator=generator) + torch.randn(
        d, generator=generator
    )
    return W, h / h.norm(dim=1, keepdim=True), torch.randn(C, generator=generator)


def naive(W, h, V, order, ks, bias=None, answer=None):
    """For each k: project the images, multiply with the head, take the largest logit."""
    W, h, V, found = W.double().numpy(), h.double().numpy(), V.double().numpy(), []
    for k in ks:
        kept = V[:, list(order)[:k]]
        logits = (h @ kept @ kept.T) @ W.T + (0 if bias is None else bias.double().numpy())
        found.append(logits.argmax(axis=1) if answer is None else answer(torch.from_numpy(logits)).numpy())
    return np.stack(found)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("C", "d"), SHAPES)
def test_equals_the_naive_loop(C, d, with_bias, centred):
    W, h, b = cone(C, d)
    bias = b if with_bias else None
    sigma, V = thin_svd(W, centred=centred)
    if not len(sigma):
        assert C == 1
        assert pruned_predictions(W, h, V, bias=bias).tolist() == [[0] * 300]
        return
    importance = direction_importance(W, h, centred=centred).importance
    for kind in ("importance", "smallest_first", "singular_values", "random"):
        order = direction_order(kind, importance, seed=3)
        found = pruned_predictions(W, h, V, order, bias=bias)
        assert found.shape == (len(sigma) + 1, 300)
        assert found.dtype == torch.int64
        np.testing.assert_array_equal(found, naive(W, h, V, order, range(len(sigma), -1, -1), bias))
        np.testing.assert_array_equal(found[0], unpruned_predictions(W, h, bias=bias))


def test_pruning_changes_predictions_here():
    W, h, _ = cone(40, 33)
    V = thin_svd(W)[1]
    found = pruned_predictions(W, h, V)
    agreement = (found == found[0]).double().mean(dim=1)
    assert agreement[0] == 1
    assert agreement[-1] < 0.2
    assert len(agreement.unique()) > 20


@given(
    C=st.integers(1, 12), d=st.integers(1, 12), n=st.integers(1, 20), seed=st.integers(0, 2**16), centred=st.booleans()
)
@settings(max_examples=25, deadline=None)
def test_laws(C, d, n, seed, centred):
    W, h, b = cone(C, d, n, seed)
    V = thin_svd(W, centred=centred)[1]
    r = V.shape[1]
    orders = [torch.randperm(r, generator=torch.Generator().manual_seed(seed + i)) for i in range(2)]
    first, second = (pruned_predictions(W, h, V, order, bias=b) for order in orders)
    # all directions are the same in any order, none is too
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[-1], second[-1])
    assert torch.equal(first[0], unpruned_predictions(W, h, bias=b))
    # h and W rotated together, in float64 so that it is a rotation
    Q = random_rotation(d, seed=seed)
    assert torch.equal(pruned_predictions(W.double() @ Q, h.double() @ Q, Q.T @ V, orders[0], bias=b), first)
    # each image by itself
    alone = torch.cat([pruned_predictions(W, row[None], V, orders[0], bias=b) for row in h], dim=1)
    assert torch.equal(alone, first)
    # some k instead of all
    some = [r, *range(r // 2, -1, -2)] if r // 2 < r else [0]
    picked = pruned_predictions(W, h, V, orders[0], bias=b, kept=some)
    assert torch.equal(picked, first[[r - k for k in some]])


@pytest.mark.parametrize("logits", [1, 40, 2**16])
@pytest.mark.parametrize("features", [1, 2**20])
def test_blocks_change_nothing(monkeypatch, logits, features):
    W, h, b = cone(20, 33)
    V = thin_svd(W)[1]
    h = h[:60]
    before = pruned_predictions(W, h, V, bias=b)
    monkeypatch.setattr("lightning_robust.signatures.growing_logits._LOGITS", logits)
    monkeypatch.setattr("lightning_robust.signatures.growing_logits._FEATURES", features)
    seen = []

    def predict(rows):
        seen.append(len(rows))
        return largest_class(rows)

    assert torch.equal(pruned_predictions(W, h, V, bias=b, predict=predict), before)
    assert max(seen) == max(1, min(60, logits // 20, features // 33))


def test_rows_come_in_the_order_asked_for():
    W, h, _ = cone(6, 10)
    V = thin_svd(W)[1]
    every = pruned_predictions(W, h, V)
    for kept in ([0, 3, 6], [6, 3, 0], [2], [1, 0, 6]):
        assert torch.equal(pruned_predictions(W, h, V, kept=kept), every[[6 - k for k in kept]])


def test_the_null_space_carries_nothing():
    W, h, _ = cone(4, 10)
    V = thin_svd(W)[1]
    outside = torch.randn(300, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    outside -= outside @ V @ V.T
    found = pruned_predictions(W, h.double() + 5 * outside, V)
    assert torch.equal(found, pruned_predictions(W, h.double(), V))


def test_raw_and_centred_heads_part_ways_below_k_of_r_only():
    W, h, b = cone(12, 30)
    raw, centred = (thin_svd(W, centred=which)[1] for which in (False, True))
    assert (raw.shape[1], centred.shape[1]) == (12, 11)
    of_raw, of_centred = pruned_predictions(W, h, raw, bias=b), pruned_predictions(W, h, centred, bias=b)
    assert torch.equal(of_raw[0], of_centred[0])
    assert not torch.equal(of_raw[3], of_centred[2])
    # what all classes share changes no prediction, whichever head then reads what is left
    assert torch.equal(pruned_predictions(centre_head(W.double()), h, centred, bias=b), of_centred)


def test_classes_of_equal_weights_tie_and_the_first_wins():
    W, h, _ = cone(30, 33)
    twice = torch.cat([W, W, W[:7]])  # sizes at which a matrix product rounds equal rows differently
    V = thin_svd(W)[1]
    want = pruned_predictions(W, h, V)
    assert torch.equal(pruned_predictions(twice, h, V), want)
    assert torch.equal(pruned_predictions(twice, h, V, predict=largest_class), want)
    assert torch.equal(unpruned_predictions(twice, h), want[0])
    # another bias makes another class
    bias = torch.zeros(67)
    bias[30:60] = 1e-6
    assert torch.equal(pruned_predictions(twice, h, V, bias=bias)[:-1], want[:-1] + 30)


def test_near_ties_are_told_apart():
    _, h, _ = cone(1, 16)
    generator = torch.Generator().manual_seed(1)
    w, side = torch.randn(2, 16, generator=generator, dtype=torch.float64)
    for gap in (1e-6, 1e-9, 1e-12):
        W = torch.stack([w, w + gap * side])
        found = unpruned_predictions(W, h)
        assert torch.equal(found, (h.double() @ side > 0).long())
        V = thin_svd(torch.stack([w, side]))[1]
        assert torch.equal(pruned_predictions(W, h, V, kept=[2])[0], found)


def test_k_of_0_answers_one_class():
    W, h, b = cone(6, 10)
    V = thin_svd(W)[1]
    assert pruned_predictions(W, h, V, kept=[0]).unique().tolist() == [0]
    assert pruned_predictions(W, h, V, kept=[0], bias=b).unique().tolist() == [int(b.argmax())]
    mask = ClassMask([(4,), (2,)])
    assert pruned_predictions(W, h, V, kept=[0], predict=lambda z: largest_class(mask(z))).unique().tolist() == [2]


def test_images_that_are_not_finite_get_no_class():
    W, h, b = cone(6, 10)
    V = thin_svd(W)[1]
    spoilt = h.clone()
    spoilt[3, 2], spoilt[7, 0], spoilt[8, 9] = torch.nan, torch.inf, -torch.inf
    good = torch.ones(300, dtype=torch.bool)
    good[[3, 7, 8]] = False
    for predict in (None, largest_class, lambda logits: largest_class(ClassMask([(0, 1), (2,)])(logits))):
        found = pruned_predictions(W, spoilt, V, bias=b, predict=predict)
        assert (found[:, ~good] == NO_CLASS).all()
        assert torch.equal(found[:, good], pruned_predictions(W, h[good], V, bias=b, predict=predict))
    assert unpruned_predictions(W, spoilt)[~good].tolist() == [NO_CLASS] * 3


def test_the_default_is_that_of_the_models():
    W, h, b = cone(50, 33)
    V = thin_svd(W)[1]
    assert torch.equal(pruned_predictions(W, h, V, bias=b), pruned_predictions(W, h, V, bias=b, predict=largest_class))


def test_a_mask():
    W, h, b = cone(12, 30)
    V = thin_svd(W)[1]
    mask = ClassMask([(3, 0), (5,), (11, 7, 8)])

    def answer(logits):
        return largest_class(mask(logits))

    found = pruned_predictions(W, h, V, bias=b, predict=answer)
    np.testing.assert_array_equal(found, naive(W, h, V, range(12), range(12, -1, -1), b, answer))
    assert set(found.unique().tolist()) <= {3, 5, 11}
    assert len(found.unique()) > 1


def test_a_head_of_a_sets_own_reads_what_is_left():
    W, h, _ = cone(8, 20)
    own, _, _ = cone(5, 20, seed=4)
    V = thin_svd(W)[1]
    found = pruned_predictions(own, h, V)
    np.testing.assert_array_equal(found, naive(own, h, V, range(8), range(8, -1, -1)))
    # the model's null space is not that of the other head
    assert not torch.equal(found[0], unpruned_predictions(own, h))


def test_other_answers_than_classes():
    W, h, _ = cone(6, 10)
    V = thin_svd(W)[1]
    surest = pruned_predictions(W, h, V, predict=lambda logits: logits.amax(dim=1))
    assert surest.dtype == torch.float64
    np.testing.assert_allclose(surest[0], (h.double() @ W.double().T).amax(dim=1), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype):
    W, h, b = (part.to(dtype) for part in cone(12, 30))
    V = thin_svd(W)[1]
    found = pruned_predictions(W, h, V, bias=b)
    assert torch.equal(found, pruned_predictions(W.double(), h.double(), V, bias=b.double()))


def test_no_images_and_no_directions():
    W, h, _ = cone(6, 10)
    V = thin_svd(W)[1]
    assert pruned_predictions(W, h[:0], V).shape == (7, 0)
    assert unpruned_predictions(W, h[:0]).shape == (0,)
    assert pruned_predictions(W * 0, h, V[:, :0]).tolist() == [[0] * 300]


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("C", "d"), [(6, 10), (10, 6), (40, 33)])
def test_reduced_rank_equals_its_heads(C, d, centred):
    W, h, b = cone(C, d)
    found = reduced_rank_regression(W, h[:200], unit_norm=True, centred=centred)
    predicted = reduced_rank_predictions(found, h, bias=b)
    assert predicted.shape == (found.r + 1, 300)
    for k, row in zip(range(found.r, -1, -1), predicted, strict=True):
        want = (h.double() @ found.head(k).T + b.double()).argmax(dim=1)
        assert torch.equal(row, want), k
    assert torch.equal(predicted[0], unpruned_predictions(W, h, bias=b))
    assert torch.equal(reduced_rank_predictions(found, h, bias=b, kept=[2, 0, 4]), predicted[[-3, -1, -5]])


def test_reduced_rank_of_another_head():
    W, h, _ = cone(8, 20)
    own, _, _ = cone(5, 20, seed=4)
    found = reduced_rank_regression(W, h, unit_norm=True)
    predicted = reduced_rank_predictions(found, h, head=own)
    for k, row in zip(range(8, -1, -1), predicted, strict=True):
        left = h.double() @ (torch.linalg.pinv(W.double()) @ found.head(k)).T
        assert torch.equal(row, unpruned_predictions(own, left)), k
    # all ranks: the projection on the right singular vectors
    assert torch.equal(predicted[0], pruned_predictions(own, h, thin_svd(W)[1])[0])
    # and the head itself is no other head
    assert torch.equal(reduced_rank_predictions(found, h, head=W), reduced_rank_predictions(found, h))


def test_reduced_rank_of_equal_classes():
    W, h, _ = cone(30, 33)
    twice = W.repeat_interleave(2, dim=0)
    found = reduced_rank_regression(twice, h, unit_norm=True)
    predicted = reduced_rank_predictions(found, h)
    assert (predicted % 2 == 0).all()
    once = reduced_rank_predictions(reduced_rank_regression(W, h, unit_norm=True), h)
    assert torch.equal(predicted[:-1] // 2, once[:-1])


def test_orders():
    importance = torch.tensor([0.3, 0.1, 0.3, 0.9])
    assert direction_order("importance", importance).tolist() == [3, 0, 2, 1]
    assert direction_order("smallest_first", importance).tolist() == [1, 2, 0, 3]
    assert direction_order("singular_values", importance).tolist() == [0, 1, 2, 3]
    drawn = [direction_order("random", importance, seed=seed).tolist() for seed in range(20)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in drawn)
    assert len({tuple(order) for order in drawn}) > 5
    assert direction_order("random", importance, seed=4).tolist() == drawn[4]
    assert direction_order("importance", importance[:0]).tolist() == []
    with pytest.raises(ValueError, match="NaN"):
        direction_order("random", importance * torch.nan)


@pytest.mark.usefixtures("unchecked_shapes")
def test_refusals():
    W, h, b = cone(6, 10)
    V = thin_svd(W)[1]
    for kept in ([7], [-1], [3, 3], []):
        with pytest.raises(ValueError, match=r"kept must be different numbers from 0 to 6"):
            pruned_predictions(W, h, V, kept=kept)
    for order in ([0, 1], [0, 1, 2, 3, 4, 4], [1, 2, 3, 4, 5, 6]):
        with pytest.raises(ValueError, match="each of the 6 directions once"):
            pruned_predictions(W, h, V, order)
    with pytest.raises(ValueError, match=r"directions must have shape \(10, r\).*\(9, 6\)"):
        pruned_predictions(W, h, V[:9])
    with pytest.raises(ValueError, match="directions must be finite"):
        pruned_predictions(W, h, V * torch.nan)
    with pytest.raises(ValueError, match="head must be finite"):
        pruned_predictions(W * torch.inf, h, V)
    with pytest.raises(ValueError, match=r"bias must be finite.*6 rows"):
        pruned_predictions(W, h, V, bias=b[:5])
    with pytest.raises(ValueError, match="bias must be finite"):
        unpruned_predictions(W, h, bias=b * torch.nan)
    with pytest.raises(ValueError, match="reads 10 features, not 9"):
        pruned_predictions(W, h[:, :9], V)
    with pytest.raises(TypeError, match="floating point"):
        pruned_predictions(W, h.long(), V)
    found = reduced_rank_regression(W, h, unit_norm=True)
    with pytest.raises(ValueError, match="other head reads 9 features, the truncated one 10"):
        reduced_rank_predictions(found, h, head=W[:, :9])
    with pytest.raises(ValueError, match="kept must be"):
        reduced_rank_predictions(found, h, kept=[7])
    with pytest.raises(ValueError, match="one of importance, smallest_first, singular_values, random, not 'largest'"):
        direction_order("largest", b)
