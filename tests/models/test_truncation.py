"""Truncation of a matrix for its inputs: against the closed form, gradient descent and plain SVD; singular inputs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.models.truncation import decompose

SHAPES = [(5, 8), (8, 5), (6, 6), (1, 4), (4, 1)]


def problem(out, width, n=200, seed=0, rank=None):
    g = torch.Generator().manual_seed(seed)
    W = torch.randn(out, width, generator=g, dtype=torch.float64)
    mix = torch.randn(rank or width, width, generator=g, dtype=torch.float64)
    x = torch.randn(n, rank or width, generator=g, dtype=torch.float64) @ mix + 2 * torch.randn(width, generator=g)
    return W, x


def second_moment(x):
    return x.T @ x / len(x)


def error(W, x, factors):
    shift = 0 if factors.shift is None else factors.shift
    return float((x @ W.T - x @ (factors.A @ factors.B).T - shift).square().sum(1).mean())


def methods(W, x):
    mean = x.mean(0)
    covariance, y = second_moment(x - mean), x @ W.T
    return {
        "plain": decompose(W),
        "uncentred": decompose(W, second_moment(x)),
        "centred": decompose(W, covariance, mean=mean),
        "centred outputs": decompose(W, second_moment(y - y.mean(0)), mean=y.mean(0), side="output"),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_the_residual_is_the_error_on_the_images(shape):
    W, x = problem(*shape)
    for name, found in methods(W, x).items():
        for k in range(min(shape) + 1):
            if name == "plain":
                expected = float((W - found.at(k).A @ found.at(k).B).square().sum())
            else:
                expected = error(W, x, found.at(k))
            assert found.residual(k) == pytest.approx(expected, rel=1e-9, abs=1e-9 * found.total)
            assert found.at(k).residual == found.residual(k)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_error_is_that_of_the_textbook_closed_form(shape):
    W, x = problem(*shape)
    values, vectors = np.linalg.eigh(second_moment(x).numpy())
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    s = np.linalg.svd(W.numpy() @ root, compute_uv=False)
    np.testing.assert_allclose(decompose(W, second_moment(x)).energies, s**2, rtol=1e-8, atol=1e-8 * (s**2).sum())
    s = np.linalg.svd(W.numpy(), compute_uv=False)
    np.testing.assert_allclose(decompose(W).energies, s**2, rtol=1e-10)


def test_no_product_found_by_descent_is_better():
    W, x = problem(5, 6)
    found = decompose(W, second_moment(x - x.mean(0)), mean=x.mean(0))
    torch.manual_seed(1)
    A = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    B = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    c = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([A, B, c], max_iter=2000, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        loss = (x @ W.T - x @ (A @ B).T - c).square().sum(1).mean()
        loss.backward()
        return loss

    best = float(optimizer.step(closure).detach())
    best = min(best, float(closure().detach()))
    assert found.residual(2) <= best * (1 + 1e-9)
    assert found.residual(2) == pytest.approx(best, rel=1e-3)  # and descent comes near, so that the bound says much


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(0, 10_000))
def test_centred_is_never_worse_than_uncentred_and_that_never_worse_than_plain(out, width, rank, seed):
    W, x = problem(out, width, n=30, seed=seed, rank=min(rank, width))
    found = methods(W, x)
    scale = float((x @ W.T).square().sum(1).mean())
    for k in range(min(out, width) + 1):
        plain, uncentred, centred, outputs = (error(W, x, found[name].at(k)) for name in found)
        slack = 1e-8 * scale
        assert uncentred <= plain + slack
        assert centred <= uncentred + slack
        assert outputs == pytest.approx(centred, abs=slack)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("inputs", ["full", "few directions", "none"])
def test_the_full_rank_is_the_matrix_whatever_the_inputs(shape, inputs):
    W, x = problem(*shape, rank=1 if inputs == "few directions" else None)
    x = x * 0 if inputs == "none" else x
    for found in methods(W, x).values():
        m = min(shape)
        torch.testing.assert_close(found.at(m).A @ found.at(m).B, W, rtol=0, atol=1e-6)
        A = found.at(m).A
        torch.testing.assert_close(A.T @ A, torch.eye(m, dtype=torch.float64), rtol=0, atol=1e-10)


def test_directions_that_no_image_uses_come_last_in_the_order_of_the_weight():
    W = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    found = decompose(W, torch.diag(torch.tensor([1.0, 0.0, 0.0])))
    torch.testing.assert_close(found.basis.abs(), torch.eye(3, dtype=torch.float64)[:, [0, 2, 1]])
    assert found.energies.tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-9)


def test_the_mean_needs_no_rank():
    W, x = problem(4, 6)
    constant = x[:1].expand(50, 6)
    found = decompose(W, torch.zeros(6, 6), mean=constant[0])
    assert error(W, constant, found.at(0)) < 1e-20
    torch.testing.assert_close(found.at(0).shift, W @ x[0])


def test_factors_in_another_dtype_and_their_shapes():
    W, x = problem(4, 6)
    factors = decompose(W.float(), second_moment(x).float()).at(3, torch.float32)
    assert (factors.A.shape, factors.B.shape, factors.A.dtype, factors.shift) == ((4, 3), (3, 6), torch.float32, None)
    assert factors.A.is_contiguous()
    assert factors.B.is_contiguous()


def test_refusals():
    W = torch.ones(2, 3)
    with pytest.raises(ValueError, match="both, or none"):
        decompose(W, mean=torch.ones(3))
    with pytest.raises(ValueError, match="inputs is 3 × 3, not 2 × 2"):
        decompose(W, torch.eye(2))
    with pytest.raises(ValueError, match="outputs is 2 × 2, not 3 × 3"):
        decompose(W, torch.eye(3), side="output")
    with pytest.raises(ValueError, match="side is one of input, output, not 'both'"):
        decompose(W, torch.eye(3), side="both")
    with pytest.raises(ValueError, match="mean of the inputs is 3 finite numbers"):
        decompose(W, torch.eye(3), mean=torch.ones(2))
    with pytest.raises(ValueError, match="not finite"):
        decompose(W * float("nan"))
    with pytest.raises(ValueError, match="floating-point matrix"):
        decompose(torch.ones(2, 3, 4))
    with pytest.raises(ValueError, match="rank is between 0 and 2, not 3"):
        decompose(W).at(3)
