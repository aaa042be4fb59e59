"""Wilson's interval against scipy's, its limits, its coverage."""

import pytest
from scipy.stats import binom, binomtest

from lightning_robust.robustness import wilson_interval


@pytest.mark.parametrize(("correct", "images"), [(0, 7), (7, 7), (1, 2), (8, 10), (41_337, 50_000), (1, 100_000)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_it_is_scipys(correct, images, level):
    expected = binomtest(correct, images).proportion_ci(level, method="wilson")
    assert wilson_interval(correct, images, level) == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


def test_the_ends_are_exact_and_have_a_width():
    assert wilson_interval(0, 20)[0] == 0.0 < wilson_interval(0, 20)[1]
    assert wilson_interval(20, 20)[0] < wilson_interval(20, 20)[1] == 1.0


def test_it_covers_what_it_says():
    """Summed over every outcome of the binomial."""
    truth, n = 0.9, 200
    covered = 0.0
    for k in range(n + 1):
        low, high = wilson_interval(k, n)
        covered += binom.pmf(k, n, truth) * (low <= truth <= high)
    assert covered == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [((0, 0), "got 0 of 0"), ((3, 2), "got 3 of 2"), ((-1, 2), "got -1 of 2"), ((1, 2, 1.0), "got 1.0")],
)
def test_what_is_no_accuracy_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        wilson_interval(*arguments)
