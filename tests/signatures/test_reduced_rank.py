"""Reduced-rank regression: Eckart and Young in the norm of the images, against numpy and what is really lost."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.signatures import FeatureSpectrum, centre_head, direction_importance
from lightning_robust.signatures.bases import thin_svd
from lightning_robust.signatures.reduced_rank import (
    kept_by_directions,
    rank_for,
    read_by_head,
    reduced_rank,
    reduced_rank_regression,
)


def head_and_features(C=6, d=10, n=50, seed=0):
    """Features with a mean and unequal variances, so that the head's own singular values mislead."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(C, d, generator=generator, dtype=torch.float64)
    h = torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.logspace(-2, 2, d, dtype=torch.float64)
    return W, h + torch.randn(d, generator=generator, dtype=torch.float64)


def read(h, unit_norm):
    rows = h.numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit_norm else rows


def lost(W, Wk, rows):
    """E‖W h − W_k h‖², image by image."""
    return float(np.mean([np.sum(((W - Wk) @ x) ** 2) for x in rows]))


@pytest.mark.parametrize("unit_norm", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_equals_the_svd_of_all_logits_and_the_true_residual(unit_norm, centred):
    W, h = head_and_features()
    found = reduced_rank_regression(W, h, unit_norm=unit_norm, centred=centred)
    rows, matrix = read(h, unit_norm), W.numpy() - (W.numpy().mean(axis=0) if centred else 0)
    logits = rows @ matrix.T  # another route: no moment, no root
    _, s, Vh = np.linalg.svd(logits / np.sqrt(len(rows)), full_matrices=False)
    r = 5 if centred else 6
    assert found.r == r == len(found.energies)
    np.testing.assert_allclose(found.energies, s[:r] ** 2, rtol=1e-9)
    np.testing.assert_allclose(found.explained, np.cumsum(s[:r] ** 2) / np.sum(s**2), rtol=1e-10)
    for k in range(r + 1):
        best = matrix.T @ Vh[:k].T @ Vh[:k]
        np.testing.assert_allclose(found.head(k), best.T, atol=1e-9 * np.abs(matrix).max())
        assert np.linalg.matrix_rank(found.head(k).numpy()) == k
        true = lost(matrix, found.head(k).numpy(), rows)
        assert found.residual(k) == pytest.approx(true, rel=1e-9, abs=1e-12 * float(found.energies.sum()))
    np.testing.assert_allclose(found.head(r), matrix, atol=1e-9)
    assert found.centred is centred


def test_the_components_are_uncorrelated_on_the_images_and_read_along_the_directions():
    W, h = head_and_features()
    found = reduced_rank_regression(W, h, unit_norm=False)
    components = h.numpy() @ W.numpy().T @ found.logit_directions.numpy()
    second = components.T @ components / len(h)
    np.testing.assert_allclose(second, np.diag(found.energies), atol=1e-9 * float(found.energies[0]))
    along = h.numpy() @ found.directions.numpy()
    for i in range(found.r):
        assert abs(np.corrcoef(along[:, i], components[:, i])[0, 1]) == pytest.approx(1, abs=1e-10)
    np.testing.assert_allclose(np.linalg.norm(found.directions.numpy(), axis=0), 1)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(C=st.integers(1, 6), d=st.integers(1, 6), n=st.integers(1, 12), k=st.integers(0, 6), seed=st.integers(0, 10**6))
def test_no_head_of_rank_k_does_better(C, d, n, k, seed):
    W, h = head_and_features(C, d, n, seed)
    found = reduced_rank_regression(W, h, unit_norm=False)
    k = min(k, found.r)
    generator = torch.Generator().manual_seed(seed)
    rival = torch.randn(C, k, generator=generator, dtype=torch.float64)
    rival = rival @ torch.randn(k, d, generator=generator, dtype=torch.float64)
    V = thin_svd(W)[1]
    near = found.head(k) + 1e-3 * rival if k else found.head(0)
    near = near.numpy() if np.linalg.matrix_rank(near.numpy()) <= k else found.head(k).numpy()
    rivals = [rival.numpy(), (W @ V[:, :k] @ V[:, :k].T).numpy(), near]
    total = float(found.energies.sum())
    for other in rivals:
        assert lost(W.numpy(), other, h.numpy()) >= found.residual(k) - 1e-9 * total


@settings(max_examples=20, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 3.0, 1e6]))
def test_laws(seed, scale):
    """Scales multiply the energies, an orthogonal change of features or of logits leaves them, shares stay."""
    W, h = head_and_features(seed=seed)
    base = reduced_rank_regression(W, h, unit_norm=False)
    generator = torch.Generator().manual_seed(seed)
    Q, P = (torch.linalg.qr(torch.randn(m, m, generator=generator, dtype=torch.float64))[0] for m in (10, 6))
    for other, factor in (
        (reduced_rank_regression(scale * W, h, unit_norm=False), scale**2),
        (reduced_rank_regression(W, scale * h, unit_norm=False), scale**2),
        (reduced_rank_regression(W @ Q, h @ Q, unit_norm=False), 1),
        (reduced_rank_regression(P @ W, h, unit_norm=False), 1),
    ):
        np.testing.assert_allclose(other.energies, factor * base.energies, rtol=1e-6)
        np.testing.assert_allclose(other.explained, base.explained, rtol=1e-8)


def test_the_norm_of_an_image_matters_only_where_the_model_does_not_normalise():
    W, h = head_and_features()
    far = h * torch.logspace(-3, 3, len(h), dtype=torch.float64)[:, None]
    unit = [reduced_rank_regression(W, x, unit_norm=True).explained for x in (h, far)]
    torch.testing.assert_close(*unit, rtol=1e-9, atol=0)
    raw = [reduced_rank_regression(W, x, unit_norm=False).explained for x in (h, far)]
    assert float((raw[0] - raw[1]).abs().max()) > 0.01


def test_a_cone_takes_the_first_component_of_the_raw_head_and_none_of_the_centred():
    generator = torch.Generator().manual_seed(0)
    W, h = (torch.randn(n, 40, generator=generator, dtype=torch.float64) for n in (20, 200))
    cone = torch.zeros(40, dtype=torch.float64)
    cone[0] = 1
    W, h = W + 40 * cone, h + 3 * cone
    raw, centred = (reduced_rank_regression(W, h, unit_norm=True, centred=c) for c in (False, True))
    assert raw.explained[0] > 0.95
    assert abs(float(raw.directions[0, 0])) > 0.99
    shared = torch.ones(20, dtype=torch.float64) / 20**0.5
    assert abs(float(raw.logit_directions[:, 0] @ shared)) > 0.99
    assert centred.explained[0] < 0.5
    assert float((centred.logit_directions.T @ shared).abs().max()) < 1e-10


def test_a_feature_spectrum_gives_the_moment():
    """The route of a monitor: the layer that normalises, in batches."""
    W, h = head_and_features()
    metric = FeatureSpectrum()
    for batch in read_by_head(h, unit_norm=True).split(13):
        metric.update(batch)
    found = reduced_rank(W, metric.moments().second_moment)
    np.testing.assert_allclose(found.energies, reduced_rank_regression(W, h, unit_norm=True).energies, rtol=1e-10)


def test_images_in_a_plane_leave_a_rank_of_two_and_a_single_image_of_one():
    W, h = head_and_features()
    plane = torch.outer(h[:, 0], h[0]) + torch.outer(h[:, 1], h[1])
    found = reduced_rank_regression(W, plane, unit_norm=False)
    assert found.r == 2
    assert lost(W.numpy(), found.head(2).numpy(), plane.numpy()) < 1e-10 * float(found.energies.sum())
    assert reduced_rank_regression(W, h[:1], unit_norm=True).r == 1


def test_a_float32_head_of_low_rank_has_no_components_of_rounding_but_keeps_small_ones():
    """Rounding fills the null space of a product in float32; a spread of 1e5 between components is no rounding."""
    W, h = head_and_features(C=8, d=10)
    low = (W[:, :3] @ W[:3]).float()
    assert reduced_rank_regression(low, h, unit_norm=False).r == 3
    spread = torch.diag(torch.logspace(0, -5, 8)).float()
    assert reduced_rank_regression(spread, torch.eye(8), unit_norm=False).r == 8


def test_one_feature_one_class():
    found = reduced_rank_regression(torch.tensor([[2.0]]), torch.tensor([[3.0], [-5.0]]), unit_norm=False)
    assert found.energies.tolist() == pytest.approx([68])
    assert found.head(1).item() == pytest.approx(2)


def test_no_logits_at_all():
    W, h = head_and_features()
    for weight, rows in ((W * 0, h), (W, h * 0)):
        found = reduced_rank_regression(weight, rows, unit_norm=False)
        assert found.r == 0
        assert found.residual(0) == 0
        assert found.rank_for(0.9) == 0
        assert torch.equal(found.head(0), torch.zeros_like(W))
    same = torch.ones(3, 10, dtype=torch.float64)  # all classes alike: nothing is left after centring
    assert reduced_rank_regression(same, h, unit_norm=False, centred=True).r == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_dtypes(dtype):
    W, h = head_and_features(n=200)
    W, h = W.to(dtype), h.to(dtype)
    found = reduced_rank_regression(W, h, unit_norm=True, centred=True)
    exact = reduced_rank_regression(W.double(), h.double(), unit_norm=True, centred=True)
    assert found.r == 5
    assert found.energies.dtype == torch.float64
    np.testing.assert_allclose(found.explained, exact.explained, rtol=0, atol=100 * torch.finfo(dtype).eps)


def test_images_that_are_not_finite_are_left_out():
    W, h = head_and_features()
    spoilt = torch.cat([h, h[:2]])
    spoilt[-1, 3], spoilt[-2, 0] = float("nan"), float("inf")
    for unit_norm in (False, True):
        clean = reduced_rank_regression(W, h, unit_norm=unit_norm).energies
        np.testing.assert_allclose(reduced_rank_regression(W, spoilt, unit_norm=unit_norm).energies, clean, rtol=1e-9)
    with pytest.raises(ValueError, match="none of the 2 images"):
        reduced_rank_regression(W, spoilt[-2:], unit_norm=True)


@pytest.mark.parametrize("centred", [False, True])
def test_what_the_most_important_directions_keep(centred):
    W, h = head_and_features()
    rows = torch.as_tensor(read(h, True))
    Sigma = rows.T @ rows / len(rows)
    report = direction_importance(W, h, centred=centred)
    order = report.importance.argsort(descending=True)
    kept = kept_by_directions(report.singular_values, report.directions, Sigma, order)
    matrix = centre_head(W).numpy() if centred else W.numpy()
    total = lost(matrix, 0 * matrix, rows.numpy())
    for k in range(1, report.r + 1):
        V = report.directions[:, order[:k]].numpy()
        assert 1 - float(kept[k - 1]) == pytest.approx(lost(matrix, matrix @ V @ V.T, rows.numpy()) / total, abs=1e-9)
    best = reduced_rank(W, Sigma, centred=centred).explained
    assert bool((kept <= best + 1e-9).all())
    assert float((best - kept).max()) > 0.01  # and it is no empty bound here


def test_a_head_whose_classes_are_alike_keeps_nothing_once_centred():
    _, h = head_and_features()
    for C in (1, 10):
        found = reduced_rank_regression(h[:1].repeat(C, 1), h, unit_norm=True, centred=True)
        assert (found.r, found.rank_for(0.9)) == (0, 0)
        assert reduced_rank_regression(h[:1].repeat(C, 1), h, unit_norm=True).r == 1


def test_rank_for():
    shares = torch.tensor([0.5, 0.8, 0.9, 1.0 - 1e-15], dtype=torch.float64)
    assert [rank_for(shares, share) for share in (0.4, 0.5, 0.51, 0.9, 1.0)] == [1, 1, 2, 3, 4]
    assert rank_for(torch.full((3,), float("nan"), dtype=torch.float64), 0.5) == 0
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            rank_for(shares, share)


def test_refusals():
    W, h = head_and_features()
    Sigma = h.T @ h
    with pytest.raises(ValueError, match=r"10 features, the head has shape \(6, 9\)"):
        reduced_rank(W[:, :9], Sigma)
    with pytest.raises(ValueError, match="head must be finite"):
        reduced_rank(W * float("nan"), Sigma)
    with pytest.raises(ValueError, match="second_moment must be finite"):
        reduced_rank(W, Sigma * float("inf"))
    with pytest.raises(ValueError, match="no negative eigenvalue"):
        reduced_rank(W, Sigma - 2 * Sigma.diagonal().max() * torch.eye(10, dtype=torch.float64))
    found = reduced_rank(W, Sigma)
    for k in (-1, 7):
        with pytest.raises(ValueError, match=f"between 0 and the rank, 6, not {k}"):
            found.head(k)
        with pytest.raises(ValueError, match="between 0 and the rank"):
            found.residual(k)
    with pytest.raises(ValueError, match="each of the 3 directions once"):
        kept_by_directions(
            torch.ones(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64), Sigma[:3, :3], [0, 1, 1]
        )
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.r = 3
