"""Importance of directions: the rule, the centred head, and what does not matter."""

import numpy as np
import pytest
import torch

from lightning_robust.signatures import DirectionImportance, centre_head, direction_importance


def head_and_features(C=12, d=30, n=40):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(C, d, generator=generator), torch.randn(n, d, generator=generator)


@pytest.mark.parametrize("centred", [False, True])
def test_equals_a_naive_loop(centred):
    W, h = head_and_features()
    report = direction_importance(W, h, centred=centred)
    matrix = W.double().numpy()
    if centred:
        matrix = matrix - matrix.mean(axis=0)
    _, sigma, Vh = np.linalg.svd(matrix, full_matrices=False)
    r = 11 if centred else 12
    want = np.zeros(r)
    for i in range(r):
        for x in h.double().numpy():
            want[i] += sigma[i] * abs(Vh[i] @ x) / np.sqrt(x @ x) / len(h)
    np.testing.assert_allclose(report.importance, want, rtol=1e-12)
    np.testing.assert_allclose(report.normalised, want / sigma[:r].sum(), rtol=1e-12)
    assert report.r == r == len(report.singular_values) == report.directions.shape[1]
    assert report.max_over_median == pytest.approx(want.max() / np.median(want), rel=1e-12)
    assert (report.n, report.centred) == (40, centred)


def test_a_cone_head_is_privileged_raw_but_not_centred():
    """A direction that adds the same to every class: most of the importance, none of the predictions."""
    W, h = head_and_features(C=20, d=40)
    cone = torch.zeros(40)
    cone[0] = 1
    W, h = W + 40 * cone, h + 3 * cone
    raw, centred = direction_importance(W, h), direction_importance(W, h, centred=True)
    assert raw.privileged == (0,)
    assert raw.max_over_median > 10
    assert abs(float(raw.directions[0, 0])) > 0.99
    assert centred.privileged == ()
    assert centred.max_over_median < 10
    assert "10 x the median" in raw.rule


def test_the_centred_head_predicts_the_same():
    W, h = (x.double() for x in head_and_features())
    raw, centred = (h @ W.T).softmax(dim=1), (h @ centre_head(W).T).softmax(dim=1)
    torch.testing.assert_close(raw, centred, rtol=1e-10, atol=1e-12)
    assert centre_head(W).mean(dim=0).abs().max() < 1e-14


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_centred_half_precision_head_predicts_the_same(dtype):
    """Rounded to half precision again, it would change the class of several of these images."""
    W, h = head_and_features(C=100, d=64, n=2000)
    W = W.to(dtype)
    centred = centre_head(W)
    assert centred.dtype == torch.float32
    scores = h.double() @ W.double().T
    assert torch.equal((h.double() @ centred.double().T).argmax(dim=1), scores.argmax(dim=1))
    rounded = centred.to(dtype).double()
    assert not torch.equal((h.double() @ rounded.T).argmax(dim=1), scores.argmax(dim=1)), "or the test says nothing"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_importance_of_a_low_precision_head_is_that_of_its_float64_copy(dtype):
    W, h = head_and_features(C=10, d=64)
    W = (W + 1).to(dtype)
    for centred in (False, True):
        low, high = direction_importance(W, h, centred=centred), direction_importance(W.double(), h, centred=centred)
        assert low.r == high.r == (9 if centred else 10)
        torch.testing.assert_close(low.importance, high.importance, rtol=1e-12, atol=0)
        assert low.max_over_median == pytest.approx(high.max_over_median, rel=1e-12)


NO_DIRECTIONS = [
    (torch.ones(1, 16), True),
    (torch.randn(1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).repeat(10, 1), True),
    (torch.zeros(3, 16), False),
    (torch.zeros(3, 16), True),
]


@pytest.mark.parametrize(("W", "centred"), NO_DIRECTIONS, ids=["one class", "all alike", "zeros", "zeros, centred"])
def test_a_head_without_directions_gives_a_monitor_an_answer_and_a_caller_a_sentence(W, centred):
    h = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    metric, other = DirectionImportance(W, centred=centred), DirectionImportance(W, centred=centred)
    metric.update(h)
    other.update(h[:2])
    metric.merge_state(other)
    result = metric.compute()
    assert (int(result["n"]), int(result["not_finite"])) == (7, 0)
    assert all(result[key].shape == (0,) for key in ("importance", "normalised", "singular_values", "privileged"))
    assert result["max_over_median"].isnan()
    with pytest.raises(ValueError, match="no directions"):
        direction_importance(W, h, centred=centred)


def test_privileged_is_strictly_above_ten_times_the_median():
    """A diagonal head and one image that points equally everywhere: importance ∝ σ."""
    for top, privileged in ((10.0, ()), (10.001, (0,))):
        W = torch.diag(torch.tensor([top, 1.0, 1.0, 1.0], dtype=torch.float64))
        assert direction_importance(W, torch.ones(1, 4, dtype=torch.float64)).privileged == privileged


def test_the_norm_of_an_image_does_not_matter_but_zero_counts_as_zero():
    W, h = head_and_features()
    base = direction_importance(W, h)
    scaled = direction_importance(W, h * torch.logspace(-3, 3, 40)[:, None])
    torch.testing.assert_close(scaled.importance, base.importance, rtol=1e-5, atol=0)
    half = direction_importance(W, torch.cat([h, torch.zeros_like(h)]))
    torch.testing.assert_close(half.importance, base.importance / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_images_of_any_scale(scale):
    W, h = head_and_features()
    base, far = direction_importance(W, h.double()), direction_importance(W, h.double() * scale)
    torch.testing.assert_close(far.importance, base.importance, rtol=1e-12, atol=0)


def test_images_that_are_not_finite_are_left_out_and_counted():
    W, h = head_and_features()
    base = direction_importance(W, h)
    bad = torch.stack([torch.full((30,), float("nan")), torch.full((30,), float("inf"))])
    report = direction_importance(W, torch.cat([bad[:1], h, bad[1:]]))
    assert (report.n, report.not_finite, base.not_finite) == (42, 2, 0)
    torch.testing.assert_close(report.importance, base.importance, rtol=1e-12, atol=0)
    nothing = direction_importance(W, bad)
    assert nothing.importance.isnan().all()
    assert nothing.privileged == ()
    assert (nothing.n, nothing.not_finite) == (2, 2)


def test_the_scale_of_the_head_drops_out_of_the_normalised_figure():
    W, h = head_and_features()
    base, scaled = direction_importance(W, h), direction_importance(W * 100, h)
    torch.testing.assert_close(scaled.normalised, base.normalised, rtol=1e-5, atol=0)
    torch.testing.assert_close(scaled.importance, base.importance * 100, rtol=1e-5, atol=0)


def test_one_direction():
    report = direction_importance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0]]))
    assert report.importance.tolist() == pytest.approx([5])
    assert report.privileged == ()


def test_refusals():
    W, h = head_and_features()
    with pytest.raises(ValueError, match="reads 30 features, the layer gave 8"):
        DirectionImportance(W).update(torch.ones(2, 8))
    with pytest.raises(ValueError, match="head must be finite"):
        DirectionImportance(W * float("nan"))
    with pytest.raises(ValueError, match="no rows"):
        direction_importance(W, h[:0])
