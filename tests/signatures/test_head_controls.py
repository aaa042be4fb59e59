"""Control heads: what each keeps, what it forgets, and that it is drawn from the distribution it says."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures.head_controls import control_heads, random_head, rotated_head
from lightning_robust.signatures.importance import centre_head


def head(C=6, d=16, seed=0):
    spread = torch.logspace(0, 2, C, dtype=torch.float64)[:, None]
    return spread * torch.randn(C, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25, derandomize=True)
@given(C=st.integers(1, 9), d=st.integers(1, 9), seed=st.integers(0, 2**31), scale=st.sampled_from([1e-8, 1.0, 1e9]))
def test_a_random_head_keeps_shape_and_frobenius_norm_alone(C, d, seed, scale):
    W = scale * head(C, d, seed=1)
    R = random_head(W, seed)
    assert R.shape == W.shape
    assert np.linalg.norm(R.numpy()) == pytest.approx(np.linalg.norm(W.numpy()), rel=1e-12)
    assert torch.equal(R, random_head(W, seed))


@settings(max_examples=25, derandomize=True)
@given(C=st.integers(1, 9), d=st.integers(1, 9), seed=st.integers(0, 2**31))
def test_a_rotated_head_keeps_singular_values_and_the_gram_matrix_of_the_classes(C, d, seed):
    W = head(C, d, seed=1)
    R = rotated_head(W, seed)
    scale = float(W.norm())
    np.testing.assert_allclose(
        np.linalg.svd(R.numpy(), compute_uv=False), np.linalg.svd(W.numpy(), compute_uv=False), atol=1e-12 * scale
    )
    torch.testing.assert_close(R @ R.T, W @ W.T, rtol=0, atol=1e-12 * scale**2)


def test_centring_and_rotating_commute():
    W = head()
    torch.testing.assert_close(centre_head(rotated_head(W, 3)), rotated_head(centre_head(W), 3), rtol=0, atol=1e-11)


def test_right_singular_vectors_of_rotated_heads_are_uniform_on_the_sphere():
    """v₁² of a uniform unit vector in d dimensions is Beta(1/2, (d − 1)/2)."""
    W, d = torch.zeros(2, 6, dtype=torch.float64), 6
    W[0, 0], W[1, 1] = 2.0, 1.0
    rows = torch.stack([rotated_head(W, seed) for seed in range(800)])
    first, second = rows[:, 0] / 2, rows[:, 1]
    for unit in (first, second):
        assert scipy.stats.kstest(unit[:, 4].square().numpy(), scipy.stats.beta(0.5, (d - 1) / 2).cdf).pvalue > 0.01
        assert float(unit.mean(dim=0).abs().max()) < 0.07  # standard error 0.014
        second_moment = unit.T @ unit / len(unit)
        assert float((second_moment - torch.eye(d, dtype=torch.float64) / d).abs().max()) < 0.03
    torch.testing.assert_close((first * second).sum(dim=1), torch.zeros(800, dtype=torch.float64), rtol=0, atol=1e-12)


def test_entries_of_random_heads_are_gaussian():
    W = torch.ones(40, 50, dtype=torch.float64)
    entries = random_head(W, 5).flatten().numpy()
    assert scipy.stats.kstest(entries, "norm").pvalue > 0.01
    assert abs(np.corrcoef(entries[:-1], entries[1:])[0, 1]) < 0.08


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_controls_keep_the_dtype_and_differ_by_seed(dtype):
    W = head().to(dtype)
    controls = control_heads(W, seeds=[0, 4, 9])
    assert controls.seeds == (0, 4, 9)
    assert torch.equal(controls.head, W)
    for name, made, make in (("random", controls.random, random_head), ("rotated", controls.rotated, rotated_head)):
        assert all(torch.equal(one, make(W, seed)) for one, seed in zip(made, controls.seeds, strict=True)), name
        assert all(one.dtype == dtype for one in made)
        assert not torch.equal(made[0], made[1])
        assert not torch.equal(made[1], made[2])


def test_the_record_is_frozen_and_keeps_the_head_as_it_was():
    W = head()
    controls = control_heads(W, seeds=[0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        controls.seeds = (1,)
    before = W.clone()
    W.zero_()
    assert torch.equal(controls.head, before)


def test_no_random_state_is_touched():
    state = torch.get_rng_state()
    control_heads(head())
    assert torch.equal(state, torch.get_rng_state())


def test_a_head_of_zeros_as_at_the_start_of_a_probe_has_controls_of_zeros():
    assert not random_head(torch.zeros(3, 4)).any()
    assert not rotated_head(torch.zeros(3, 4)).any()


def test_refusals():
    for make in (random_head, rotated_head, control_heads):
        with pytest.raises(ValueError, match="head must be finite"):
            make(torch.full((3, 4), float("inf")))
    for seeds in ((), (1, 1)):
        with pytest.raises(ValueError, match="different numbers"):
            control_heads(head(), seeds)
