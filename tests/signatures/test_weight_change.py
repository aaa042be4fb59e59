"""How far a matrix moved, against numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures import weight_change
from lightning_robust.signatures.weight_change import leading_directions


def gaussian(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (90, 100), (1, 6), (6, 1)])
@pytest.mark.parametrize("top", [1, 5, 10])
def test_equals_numpy(shape, top):
    W0, delta = gaussian(*shape), 0.01 * gaussian(*shape, seed=1)
    found = weight_change(W0 + delta, W0, top=top)
    a, d = W0.numpy(), (W0 + delta - W0).numpy()
    U, s, Vt = np.linalg.svd(a, full_matrices=False)
    k = min(top, *shape)
    norm = np.linalg.norm(d)
    assert found.top == k
    np.testing.assert_allclose(found.spectrum.singular_values, np.linalg.svd(d, compute_uv=False), rtol=1e-8)
    assert found.relative_frobenius == pytest.approx(norm / np.linalg.norm(a), rel=1e-10)
    assert found.relative_spectral == pytest.approx(np.linalg.norm(d, 2) / s[0], rel=1e-10)
    assert found.input_share == pytest.approx(np.linalg.norm(d @ Vt[:k].T) ** 2 / norm**2, rel=1e-6)
    assert found.output_share == pytest.approx(np.linalg.norm(U[:, :k].T @ d) ** 2 / norm**2, rel=1e-6)


def test_a_change_of_one_direction():
    U, _, Vt = np.linalg.svd(gaussian(40, 30).numpy(), full_matrices=False)
    W0 = torch.from_numpy((U * np.arange(30, 0, -1)) @ Vt)
    along = weight_change(W0 + 0.5 * torch.from_numpy(np.outer(U[:, 0], Vt[0])), W0, top=3)
    assert (along.input_share, along.output_share) == (pytest.approx(1), pytest.approx(1))
    assert along.relative_spectral == pytest.approx(0.5 / 30)
    assert along.spectrum.effective_rank == pytest.approx(1, abs=1e-6)
    across = weight_change(W0 + torch.from_numpy(np.outer(U[:, 0], Vt[9])), W0, top=3)
    assert (across.input_share, across.output_share) == (pytest.approx(0, abs=1e-12), pytest.approx(1))


def test_a_random_change_lies_there_by_chance():
    W0 = gaussian(200, 300)
    found = weight_change(W0 + gaussian(200, 300, seed=1), W0, top=20)
    assert found.input_share == pytest.approx(20 / 300, rel=0.15)
    assert found.output_share == pytest.approx(20 / 200, rel=0.15)


def test_nothing_changed_and_nothing_there():
    W0, zero = gaussian(4, 3), torch.zeros(4, 3, dtype=torch.float64)
    same = weight_change(W0, W0)
    assert (same.relative_frobenius, same.relative_spectral) == (0.0, 0.0)
    assert all(math.isnan(x) for x in (same.input_share, same.output_share, same.spectrum.stable_rank))
    grown = weight_change(W0, zero)  # as the B of LoRA
    assert (grown.relative_frobenius, grown.relative_spectral, grown.top) == (math.inf, math.inf, 0)
    assert math.isnan(grown.input_share)
    assert math.isnan(weight_change(zero, zero).relative_frobenius)
    off = weight_change(W0 + 1, W0, top=0)
    assert (off.top, math.isnan(off.input_share), off.relative_spectral > 0) == (0, True, True)


def test_directions_stop_at_the_rank_of_the_reference():
    low = gaussian(30, 2) @ gaussian(2, 40, seed=1)
    found = leading_directions(low, 10)
    assert found.V.shape == (40, 2)
    torch.testing.assert_close(found.U @ (found.U.T @ low), low)
    assert found.frobenius == pytest.approx(float(torch.linalg.norm(low)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_directions_of_rounding_are_nobodys(dtype):
    low = gaussian(30, 2).to(dtype) @ gaussian(2, 40, seed=1).to(dtype)
    assert leading_directions(low, 10).V.shape == (40, 2)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 9), st.sampled_from([1e-150, 1e-3, 1e100]))
def test_laws(out, inp, seed, scale):
    W0, W1 = gaussian(out, inp, seed=seed), gaussian(out, inp, seed=seed + 50)
    base, scaled = weight_change(W1, W0, top=3), weight_change(W1 * scale, W0 * scale, top=3)
    turned = weight_change(W1.T.contiguous(), W0.T.contiguous(), top=3)
    for name in ("relative_frobenius", "relative_spectral", "input_share", "output_share"):
        assert getattr(scaled, name) == pytest.approx(getattr(base, name), rel=1e-6)
    assert (turned.input_share, turned.output_share) == (
        pytest.approx(base.output_share, rel=1e-6),
        pytest.approx(base.input_share, rel=1e-6),
    )
    assert 0 <= base.input_share <= 1 + 1e-9


def test_rounding_of_the_weights_is_no_part_of_the_tail_of_their_change():
    W0 = gaussian(128, 96).float()
    moved = W0.double() + 1e-3 * gaussian(128, 30, seed=1) @ gaussian(30, 96, seed=2)
    exact = weight_change(moved, W0.double(), method="exact").spectrum
    stored = weight_change(moved.float(), W0, method="exact").spectrum
    assert exact.singular_values[30] < 1e-12 < 1e-7 < stored.singular_values[30]  # that is the rounding
    assert stored.alpha == pytest.approx(exact.alpha, rel=1e-3)
    rounded = weight_change(W0 * (1 + 1e-7), W0).spectrum  # nothing but rounding
    assert rounded.singular_values[0] > 0
    assert math.isnan(rounded.alpha)


def test_refusals():
    for wrong in ((np.ones((2, 3)), torch.ones(2, 3)), (torch.ones(2, 3), np.ones((2, 3)))):
        with pytest.raises(TypeError, match="a weight is a torch tensor, not ndarray"):
            weight_change.__wrapped__(*wrong)
    bad = torch.tensor([[1.0, math.nan]])
    for pair in ((bad, torch.ones(1, 2)), (torch.ones(1, 2), bad)):
        with pytest.raises(ValueError, match="not finite"):
            weight_change(*pair)
    with pytest.raises(ValueError, match=r"reference has shape \(2, 3\), the weight \(3, 2\)"):
        weight_change.__wrapped__(torch.ones(3, 2), torch.ones(2, 3))
