"""The linear probe against scikit-learn, and its split over processes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lightning_robust.training.linear_probe import fit_linear_probe


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(120, 6, generator=generator) + 2.0  # a common mean, as CLIP's features have
    targets = (features @ torch.randn(6, 4, generator=generator) + 0.5).argmax(dim=1)
    return features, targets


@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_it_is_scikit_learns_logistic_regression(sample, l2):
    features, targets = sample
    V = fit_linear_probe(features, targets, 4, l2=l2, tolerance=1e-9)
    reference = LogisticRegression(C=1 / (l2 * len(features)), fit_intercept=False, tol=1e-12, max_iter=10000)
    reference.fit(features.double().numpy(), targets.numpy())
    np.testing.assert_allclose(V.numpy(), reference.coef_, rtol=1e-4, atol=1e-6)
    assert V.dtype == torch.float64


def test_the_gradient_vanishes_at_the_minimum_by_autograd(sample):
    features, targets = sample
    V = fit_linear_probe(features, targets, 4, l2=1e-2, tolerance=1e-9).requires_grad_()
    loss = torch.nn.functional.cross_entropy(features.double() @ V.T, targets) + 0.5e-2 * V.square().sum()
    loss.backward()
    assert V.grad.abs().max() < 1e-8


def test_a_class_without_images_is_never_preferred_and_the_fit_is_repeatable(sample):
    features, targets = sample
    V = fit_linear_probe(features, targets, 5, l2=1e-3)
    assert (features.double() @ V.T).argmax(dim=1).max() < 4
    assert torch.equal(V, fit_linear_probe(features, targets, 5, l2=1e-3))


def test_blocks_of_rows_do_not_matter(sample, monkeypatch):
    whole = fit_linear_probe(*sample, 4, l2=1e-3)
    monkeypatch.setattr("lightning_robust.training.linear_probe._ROWS", 7)
    torch.testing.assert_close(fit_linear_probe(*sample, 4, l2=1e-3), whole, rtol=1e-3, atol=1e-4)


def test_a_fit_that_ends_too_early_says_so(sample):
    with pytest.warns(UserWarning, match="a larger l2 than 1e-06"):
        fit_linear_probe(*sample, 4, l2=1e-6, max_iterations=3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"l2": 0.0}, "l2 is above 0, not 0.0"),
        ({"classes": 3}, r"Targets lie in 0 … 2, not in 0 … 3"),
        ({"targets": torch.zeros(3, dtype=torch.long)}, r"\(120, 6\) and \(3,\)"),
        ({"features": torch.full((120, 6), torch.nan)}, "not finite"),
        ({"features": torch.zeros(0, 6), "targets": torch.zeros(0, dtype=torch.long)}, "at least one image"),
    ],
)
def test_what_cannot_be_fitted_is_refused(sample, changes, match):
    arguments = {"features": sample[0], "targets": sample[1], "classes": 4, "l2": 1e-2} | changes
    with pytest.raises(ValueError, match=match):
        fit_linear_probe(**arguments)
