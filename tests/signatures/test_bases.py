"""Bases: orthonormal, reproducible, of the size asked for."""

import numpy as np
import pytest
import torch

from lightning_robust.signatures import control_bases, neurons, random_rotation, right_singular_vectors
from lightning_robust.signatures.bases import checked_head, no_directions, thin_svd


def assert_orthonormal(V):
    torch.testing.assert_close(V.T @ V, torch.eye(V.shape[1], dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("k", [1, 3, 8, None])
def test_size_and_orthonormality(k):
    head = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    for V in (neurons(8, k), random_rotation(8, k, seed=2), right_singular_vectors(head, k)):
        assert V.shape == (8, k or 8)
        assert V.dtype == torch.float64
        assert_orthonormal(V)


def test_seeds():
    assert torch.equal(random_rotation(6, 3, seed=1), random_rotation(6, 3, seed=1))
    assert not torch.allclose(random_rotation(6, 3, seed=1), random_rotation(6, 3, seed=2))
    assert torch.equal(neurons(50, 5, seed=1), neurons(50, 5, seed=1))
    assert not torch.equal(neurons(50, 5, seed=1), neurons(50, 5, seed=2))


def test_neurons_are_axes():
    V = neurons(9, 4)
    assert V.sum(dim=0).tolist() == [1] * 4
    assert ((V == 0) | (V == 1)).all()


def test_rotation_is_haar():
    """QR without the sign correction leaves the diagonal with a preferred sign."""
    diagonals = torch.stack([random_rotation(4, seed=seed).diagonal() for seed in range(400)])
    assert float(diagonals.mean(dim=0).abs().max()) < 0.1  # standard error 0.025


def test_thin_svd_reconstructs_and_fixes_signs():
    W = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigma, V = thin_svd(W)
    np.testing.assert_allclose(sigma, np.linalg.svd(W.numpy(), compute_uv=False), rtol=1e-12)
    torch.testing.assert_close(W @ V @ V.T, W, atol=1e-12, rtol=0)
    assert (V.gather(0, V.abs().argmax(dim=0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rank(dtype):
    generator = torch.Generator().manual_seed(0)
    W = (torch.randint(-3, 4, (9, 4), generator=generator) @ torch.randint(-3, 4, (4, 20), generator=generator)).to(
        dtype
    )
    assert len(thin_svd(W)[0]) == 4 == np.linalg.matrix_rank(W.double().numpy())


def test_rank_of_a_float32_head_is_numpys():
    """Centring a float32 head leaves rounding of its own precision in the null space."""
    W = torch.randn(30, 100, generator=torch.Generator().manual_seed(0)) * 100
    W = W - W.mean(dim=0)
    assert len(thin_svd(W)[0]) == 29 == np.linalg.matrix_rank(W.numpy())


def test_refusals():
    with pytest.raises(ValueError, match="between 1 and the number of neurons, 4, not 5"):
        neurons(4, 5)
    with pytest.raises(ValueError, match="not 0"):
        random_rotation(4, 0)
    with pytest.raises(ValueError, match="rank of the head, 2, not 3"):
        right_singular_vectors(torch.randn(2, 5, generator=torch.Generator().manual_seed(0)), 3)
    with pytest.raises(ValueError, match=r"shape \(3, 4\) has no directions, all its weights are zero"):
        right_singular_vectors(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="head must be finite"):
        right_singular_vectors(torch.full((3, 4), float("nan")))
    with pytest.raises(ValueError, match=r"shape \(C, d\), not \(4,\)"):
        checked_head(torch.ones(4))
    with pytest.raises(TypeError, match=r"torch tensor, not ndarray: torch.from_numpy"):
        checked_head(np.ones((3, 4)))
    for make in (neurons, random_rotation):
        with pytest.raises(ValueError, match="must be at least 1, not 0"):
            make(0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(10, 64), (64, 10)])
def test_centring_costs_one_direction_of_classes_and_is_exact_in_every_dtype(dtype, shape):
    """Rounding the centred head to its dtype again would fill the direction that centring empties."""
    W = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 3).to(dtype)
    sigma, V = thin_svd(W, centred=True)
    matrix = W.double().numpy()
    _, want, Vh = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    r = min(shape[0] - 1, shape[1])
    assert len(sigma) == r == V.shape[1]
    np.testing.assert_allclose(sigma, want[:r], rtol=1e-12)
    np.testing.assert_allclose(np.abs((Vh[:r] @ V.numpy()).diagonal()), 1, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("C", [1, 2, 10, 37])
def test_classes_that_are_all_alike_have_no_direction_once_centred(dtype, C):
    """What is left of them is rounding, which is no direction however small the largest singular value."""
    generator = torch.Generator().manual_seed(0)
    row = torch.randn(1, 16, generator=generator, dtype=torch.float64)
    nearly = row * (1 + 1e-16 * torch.randn(C, 16, generator=generator, dtype=torch.float64))
    for W in (row.to(dtype).repeat(C, 1), nearly.to(dtype), torch.zeros(C, 16, dtype=dtype)):
        sigma, V = thin_svd(W, centred=True)
        assert (sigma.shape, V.shape) == ((0,), (16, 0))
        assert "no directions" in str(no_directions(W, centred=True))
    assert len(thin_svd(row.to(dtype).repeat(C, 1))[0]) == 1
    assert "no class differs from the mean class" in str(no_directions(row, centred=True))


def test_control_bases_have_equal_numbers_of_directions_and_one_rotation_for_each_seed():
    head = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    for k in (None, 3):
        bases = control_bases(head, 12, k, seeds=[4, 9])
        assert list(bases) == ["singular_vectors", "neurons", "random_rotation_4", "random_rotation_9"]
        for V in bases.values():
            assert V.shape == (12, k or 5)
            assert_orthonormal(V)
        assert torch.equal(bases["singular_vectors"], right_singular_vectors(head)[:, :k])
        assert torch.equal(bases["neurons"], neurons(12, k or 5, seed=4))
        assert torch.equal(bases["random_rotation_9"], random_rotation(12, k or 5, seed=9))


def test_control_bases_without_a_head():
    bases = control_bases(None, 6)
    assert list(bases) == ["neurons", *(f"random_rotation_{seed}" for seed in range(5))]
    assert all(V.shape == (6, 6) for V in bases.values())


def test_control_bases_refuse_what_does_not_fit():
    head = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="reads 5 features, not 4"):
        control_bases(head, 4)
    with pytest.raises(ValueError, match="rank of the head, 2, not 3"):
        control_bases(head, 5, 3)
    for seeds in ([], [1, 1]):
        with pytest.raises(ValueError, match="different numbers"):
            control_bases(head, 5, seeds=seeds)
