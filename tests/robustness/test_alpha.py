"""The choice of α: known answers, the bound itself, the bootstrap shares, and refusals."""

import jaxtyping
import numpy as np
import pytest
import torch

from lightning_robust.robustness import choose_alpha

GRID = [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.fixture
def unchecked_shapes():
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def nested(hits, n):
    """Answers of models that are right on the first ``hits`` images each."""
    return np.arange(n)[None, :] < np.asarray(hits)[:, None]


def test_smallest_within_one_point_of_the_best():
    choice = choose_alpha(nested([700, 850, 892, 897, 900], 1000), GRID)
    assert choice.alpha_star == 0.5
    assert choice.alpha_fixed == 0.5
    assert choice.validation_accuracies == (0.7, 0.85, 0.892, 0.897, 0.9)
    assert choice.images == 1000
    assert not choice.is_endpoint


@pytest.mark.parametrize("n", [100, 1000, 2000, 50_000])
@pytest.mark.parametrize("best", [0.57, 0.96, 1.0])
def test_exactly_one_point_below_is_within(n, best):
    top = round(best * n)
    assert choose_alpha(nested([top - n // 100, top], n), [0.0, 1.0], replicates=1).alpha_star == 0.0
    assert choose_alpha(nested([top - n // 100 - 1, top], n), [0.0, 1.0], replicates=1).alpha_star == 1.0


def test_a_peak_inside_the_path():
    assert choose_alpha(nested([700, 880, 950, 900, 890], 1000), GRID).alpha_star == 0.5


def test_endpoint_says_so():
    choice = choose_alpha(nested([10, 20, 30, 40, 100], 100), GRID)
    assert choice.alpha_star == 1.0
    assert choice.is_endpoint
    assert "wins nothing back" in choice.sentence


def test_sentence_and_rule_of_an_interior_choice():
    choice = choose_alpha(nested([0, 100, 100, 100, 100], 100), GRID)
    assert (
        choice.rule == "the smallest α whose accuracy on 100 reference validation images is within 1 point of the best"
    )
    assert choice.sentence == f"α* = 0.25 is {choice.rule}; 100% of 2,000 bootstrap replicates choose it."
    assert choice.share == 1.0


def test_shares_are_those_of_resampling_image_by_image():
    rng = np.random.default_rng(0)
    correct = rng.random((5, 300)) < np.array([0.6, 0.7, 0.74, 0.76, 0.77])[:, None]
    choice = choose_alpha(correct, GRID, replicates=20_000)
    votes = np.zeros(5)
    for _ in range(5000):
        accuracy = correct[:, rng.integers(0, 300, 300)].mean(axis=1)
        votes[np.flatnonzero(accuracy >= accuracy.max() - 0.01 - 1e-9)[0]] += 1
    assert sum(choice.bootstrap_shares) == pytest.approx(1.0)
    np.testing.assert_allclose(choice.bootstrap_shares, votes / 5000, atol=0.025)


def test_torch_and_numpy_agree():
    correct = nested([70, 80, 85, 86, 86], 100)
    assert choose_alpha(torch.from_numpy(correct), GRID) == choose_alpha(correct, GRID)


def test_zero_tolerance_takes_the_first_of_the_best():
    assert choose_alpha(nested([70, 86, 85, 86, 86], 100), GRID, tolerance=0.0).alpha_star == 0.25


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("shape", "alphas", "tolerance", "message"),
    [
        ((2, 4), [0.0, 0.5, 1.0], 0.01, r"shape \(2, 4\) do not fit 3"),
        ((4,), [0.0], 0.01, r"shape \(4,\)"),
        ((2, 0), [0.0, 1.0], 0.01, r"shape \(2, 0\)"),
        ((2, 4), [0.0, 1.5], 0.01, r"\[0, 1\], got \[0.0, 1.5\]"),
        ((2, 4), [0.0, float("nan")], 0.01, r"\[0, 1\]"),
        ((2, 4), [1.0, 0.0], 0.01, "increase"),
        ((2, 4), [0.5, 0.5], 0.01, "increase"),
        ((2, 4), [0.0, 1.0], 1.0, "one point"),
        ((2, 4), [0.0, 1.0], -0.01, "one point"),
    ],
)
def test_refusals(shape, alphas, tolerance, message):
    with pytest.raises(ValueError, match=message):
        choose_alpha(np.ones(shape, dtype=bool), alphas, tolerance)
