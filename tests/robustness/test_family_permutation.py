"""Chances by permutation against counting by hand and scipy, and Holm's adjustment against its definition."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lightning_robust.robustness.family_permutation import holm, permutation_p, sign_flip_p

NAN = math.nan


def test_up_to_seven_families_every_arrangement_is_counted():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=6), np.round(draw.normal(size=6))
    seen = abs(stats.spearmanr(x, y).statistic)
    far = [
        abs(stats.spearmanr(x, y[list(order)]).statistic) >= seen - 1e-12 for order in itertools.permutations(range(6))
    ]
    assert permutation_p(x, y) == pytest.approx(np.mean(far))


def test_full_agreement_of_four_has_the_chance_of_two_in_twenty_four():
    x = np.arange(4.0)
    assert permutation_p(x, -(x**3)) == pytest.approx(2 / 24)


def test_more_families_are_drawn_and_agree_with_scipy():
    draw = np.random.default_rng(1)
    x = draw.normal(size=16)
    y = x + 1.5 * draw.normal(size=16)
    exact = stats.permutation_test(
        (x,), lambda a: stats.spearmanr(a, y).statistic, permutation_type="pairings", n_resamples=2000,
        rng=np.random.default_rng(2),
    ).pvalue  # fmt: skip
    assert permutation_p(x, y, draws=4000) == pytest.approx(exact, abs=0.03)
    assert permutation_p(x, y, draws=4000) == permutation_p(x, y, draws=4000)
    assert permutation_p(x, x, draws=99) == pytest.approx(0.01)  # never 0: the one found counts


def test_of_unrelated_families_one_in_ten_has_a_chance_below_a_tenth():
    draw = np.random.default_rng(5)
    found = [permutation_p(draw.normal(size=9), draw.normal(size=9), draws=99) for _ in range(400)]
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.045)


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])])
def test_no_chance_without_three_families_or_change(x, y):
    assert math.isnan(permutation_p(np.array(x), np.array(y)))


def test_signs_are_flipped_in_every_way():
    values = [0.9, 0.4, -0.2, 0.7, NAN]
    means = [abs(np.dot(signs, values[:4])) for signs in itertools.product((-1, 1), repeat=4)]
    assert sign_flip_p(values) == pytest.approx(np.mean(np.array(means) >= means[-1] - 1e-12))
    assert sign_flip_p([1.0] * 5) == pytest.approx(2 / 32)
    assert sign_flip_p([1.0] * 16, draws=999) == pytest.approx(1 / 1000, abs=0.002)
    assert math.isnan(sign_flip_p([NAN, NAN]))
    assert math.isnan(sign_flip_p([0.0, 0.0]))


def test_holm_is_its_definition():
    values = [0.01, NAN, 0.04, 0.03, 0.5]
    # sorted 0.01, 0.03, 0.04, 0.5 times 4, 3, 2, 1, never below the one before
    assert holm(values) == pytest.approx([0.04, NAN, 0.09, 0.09, 0.5], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
