"""Numbers addressed by name: uniform, independent of one another, and the same whoever asks."""

import itertools

import numpy as np
import pytest
from scipy import stats

from lightning_robust.data.scenes import draws
from lightning_robust.data.scenes.captions import captions
from lightning_robust.data.scenes.distributions import BROAD
from lightning_robust.data.scenes.draws import Dice, draw_scenes
from lightning_robust.data.scenes.render import render

N = 20_000
#: Every seed here is fixed, so a test passes for ever or never; by chance one in a thousand would not.
RARE = 1e-3


def independence(a, b, bins=8):
    """p-value of independence of two samples, given their marginals: so the pairs of many samples stay comparable."""
    return stats.chi2_contingency(np.histogram2d(a, b, bins=bins, range=((0, 1), (0, 1)))[0]).pvalue


@pytest.mark.parametrize(
    ("seed", "stream", "name", "first"),
    [(0, "a", "size", 0), (1, "a", "size", 0), (0, "b", "x", 0), (-3, "", "", 0), (2**70, "a", "size", 2**40)],
)
def test_numbers_are_uniform(seed, stream, name, first):
    numbers = Dice(seed, stream, np.arange(first, first + N))(name)
    assert stats.kstest(numbers, "uniform").pvalue > RARE
    assert len(np.unique(numbers)) == N


def test_range_and_choice():
    dice = Dice(0, "a", np.arange(N))
    numbers = dice("size", -2.0, 3.0)
    assert numbers.min() >= -2.0
    assert numbers.max() < 3.0
    np.testing.assert_allclose(numbers, -2.0 + 5.0 * dice("size"), rtol=0, atol=1e-15)
    for n in (1, 2, 7, 19):
        counts = np.bincount(dice.choice("k", n), minlength=n)
        assert len(counts) == n
        assert n == 1 or stats.chisquare(counts).pvalue > RARE


def test_seeds_streams_and_names_are_independent():
    places = list(itertools.product((0, 1), ("reference/train", "reference/val"), ("x", "y", "tint0", "tint1")))
    rows = {place: Dice(place[0], place[1], np.arange(N))(place[2]) for place in places}
    pvalues = [independence(rows[a], rows[b]) for a, b in itertools.combinations(places, 2)]
    assert min(pvalues) > RARE / len(pvalues)
    assert stats.kstest(pvalues, "uniform").pvalue > RARE


@pytest.mark.parametrize("lag", [1, 2, 20, 64])
def test_neighbouring_images_are_independent(lag):
    numbers = Dice(0, "a", np.arange(N))("size")
    assert independence(numbers[:-lag], numbers[lag:]) > RARE


def test_order_batch_and_time_do_not_matter():
    indices = np.random.default_rng(0).permutation(100)
    whole = Dice(0, "a", np.arange(100))
    for name in ("size", "x", "size"):
        np.testing.assert_array_equal(Dice(0, "a", indices)(name), whole(name)[indices])
        np.testing.assert_array_equal([Dice(0, "a", [i])(name)[0] for i in range(100)], whole(name))


def test_no_two_names_in_use_share_their_numbers(monkeypatch):
    """Names are hashed to 32 bits: two that collide would tie two attributes together."""
    asked = set()
    original = Dice.__call__

    def spy(self, name, low=0.0, high=1.0):
        asked.add(name)
        return original(self, name, low, high)

    monkeypatch.setattr(draws.Dice, "__call__", spy)
    scenes = draw_scenes(BROAD, 0, "train", np.arange(4))
    render(scenes)
    captions(scenes)
    names = sorted(asked)
    assert len(names) > 30
    rows = np.array([original(Dice(0, "broad/train", np.arange(4000)), name) for name in names])
    off = np.corrcoef(rows) - np.eye(len(names))
    assert abs(off).max() < 5 / np.sqrt(4000)
