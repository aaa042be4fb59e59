"""The largest fraction pruned: known answers, a naive loop over replicates, coverage of its interval, refusals."""

import importlib
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.robustness import largest_pruned

module = importlib.import_module("lightning_robust.robustness.largest_pruned")  # the name is that of the function too


def answers(losses, n, wins=0):
    """Unpruned answers, all right but for the last ``wins``; each k loses so many of the first, and wins the last."""
    unpruned = np.arange(n) < n - wins
    return np.array([(np.arange(n) >= lost) & (unpruned | (lost > 0)) for lost in losses]), unpruned


def noisy(n, r, seed, sharp=6):
    """A sweep as they are: the further, the more images change, to the worse and to the better."""
    rng = np.random.default_rng(seed)
    unpruned = rng.random(n) < 0.7
    gone, found = rng.beta(1, sharp, n), rng.beta(1, 3 * sharp, n)
    shares = np.arange(r, -1, -1)[:, None] / r
    return np.where(unpruned, gone < shares, found > shares), unpruned, list(range(r, -1, -1))


def by_hand(correct, unpruned, kept, total, points, unbroken):
    """One set or several: the smallest k whose mean loss is within the points, by plain loops."""
    good = {}
    for row, k in enumerate(kept):
        lost = [
            (int(before.sum()) - int(right[row].sum())) / len(before)
            for right, before in zip(correct, unpruned, strict=True)
        ]
        good[k] = sum(lost) / len(lost) <= points + 1e-9
    best = total
    for k in sorted(kept, reverse=True):
        if k == 0 or (unbroken and not good[k]):
            break
        if good[k]:
            best = k
    return best


def by_hand_interval(correct, unpruned, kept, total, points, unbroken, replicates, seed, level):
    rngs = [np.random.default_rng([seed, place]) for place in range(len(correct))]
    fractions = []
    for _ in range(replicates):
        drawn = [rng.integers(0, len(before), len(before)) for rng, before in zip(rngs, unpruned, strict=True)]
        right = [part[:, images] for part, images in zip(correct, drawn, strict=True)]
        before = [part[images] for part, images in zip(unpruned, drawn, strict=True)]
        fractions.append(1 - by_hand(right, before, kept, total, points, unbroken) / total)
    return np.quantile(fractions, [(1 - level) / 2, (1 + level) / 2])


@pytest.mark.parametrize(
    ("losses", "kept", "unbroken"),
    [
        ([0, 0, 1, 2, 90], 3, 3),  # the bound itself is allowed: 2 of 200 images
        ([0, 0, 1, 3, 90], 4, 4),
        ([0, 3, 1, 2, 90], 3, 6),  # recovers
        ([0, 3, 3, 3, 3], 6, 6),
        ([3, 1, 3, 3, 3], 5, 6),  # not even all of them are good enough: nothing is pruned without a gap
        ([3, 3, 3, 3, 3], 6, 6),
        ([0, 0, 0, 0, 0], 2, 2),
    ],
)
def test_known_answers(losses, kept, unbroken):
    correct, unpruned = answers(losses, 200)
    found = largest_pruned(correct, [6, 5, 4, 3, 2], 6, unpruned, replicates=10)
    assert (found.kept, found.unbroken_kept) == (kept, unbroken)
    assert found.fraction.estimate == (6 - kept) / 6
    assert found.unbroken.estimate == (6 - unbroken) / 6
    assert found.unpruned == 1
    lost = dict(zip([6, 5, 4, 3, 2], losses, strict=True))[kept]
    assert found.accuracy == pytest.approx(1 - (lost if lost <= 2 else 0) / 200, abs=1e-12)
    assert found.loss <= 0.01 + 1e-12
    assert (found.total, found.points, found.images) == (6, 0.01, {"images": 200})


def test_pruning_everything_is_no_candidate():
    correct, unpruned = answers([0, 0, 0], 50)
    assert largest_pruned(correct, [2, 1, 0], 2, unpruned, replicates=3).kept == 1
    alone = largest_pruned(correct[:1], [0], 2, unpruned, replicates=3)
    assert (alone.kept, alone.unbroken_kept, alone.fraction.estimate, alone.fraction.high) == (2, 2, 0, 0)
    assert alone.accuracy == 1


def test_winning_images_may_be_lost_again():
    correct, unpruned = answers([0, 8, 12, 13], 200, wins=10)
    found = largest_pruned(correct, [4, 3, 2, 1], 4, unpruned, replicates=10)
    assert found.kept == 2  # 12 lost, 10 won
    assert found.unpruned == 0.95
    assert found.accuracy == pytest.approx(0.94)


def test_the_order_of_the_rows_does_not_matter():
    correct, unpruned, kept = noisy(300, 12, seed=0)
    shuffled = np.random.default_rng(1).permutation(13)
    forth = largest_pruned(correct, kept, 12, unpruned)
    assert forth == largest_pruned(correct[shuffled], [kept[i] for i in shuffled], 12, unpruned)


def test_every_set_weighs_the_same():
    small, all_small = answers([0, 1, 1], 10)
    large, all_large = answers([0, 0, 10], 1000)
    sets, before = {"small": small, "large": large}, {"large": all_large, "small": all_small}
    assert largest_pruned(sets, [3, 2, 1], 3, before, points=0.05, replicates=5).kept == 2
    assert largest_pruned(sets, [3, 2, 1], 3, before, points=0.055, replicates=5).kept == 1
    assert largest_pruned(sets, [3, 2, 1], 3, before, points=0.049, replicates=5).kept == 3
    # 0.1 and 0.2 are 0.15000000000000002 in the mean
    tie = {"one": answers([0, 1], 10)[0], "two": answers([0, 2], 10)[0]}
    assert largest_pruned(tie, [2, 1], 2, dict.fromkeys(tie, all_small), points=0.15, replicates=5).kept == 1
    backwards = {"large": large, "small": small}
    assert largest_pruned(sets, [3, 2, 1], 3, before) == largest_pruned(backwards, [3, 2, 1], 3, before)


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    r=st.integers(1, 8),
    points=st.sampled_from([0.0, 0.01, 0.1, 0.5]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=25, deadline=None)
def test_equals_the_naive_loop_over_replicates(sizes, r, points, seed):
    parts = [noisy(n, r, seed + place, sharp=3) for place, n in enumerate(sizes)]
    correct, unpruned, kept = [part[0] for part in parts], [part[1] for part in parts], parts[0][2]
    names = "abc"[: len(sizes)]
    found = largest_pruned(
        dict(zip(names, correct, strict=True)),
        kept,
        r,
        dict(zip(names, unpruned, strict=True)),
        points=points,
        replicates=30,
        level=0.8,
        seed=seed,
    )
    for unbroken, number, interval in (
        (False, found.kept, found.fraction),
        (True, found.unbroken_kept, found.unbroken),
    ):
        assert number == by_hand(correct, unpruned, kept, r, points, unbroken)
        ends = by_hand_interval(correct, unpruned, kept, r, points, unbroken, 30, seed, 0.8)
        np.testing.assert_allclose([interval.low, interval.high], ends, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [40, 3000])
def test_equals_the_naive_loop_where_most_questions_are_closed(n):
    correct, unpruned, kept = noisy(n, 40, seed=2)
    found = largest_pruned(correct, kept, 40, unpruned, replicates=200, seed=3)
    for unbroken, interval in ((False, found.fraction), (True, found.unbroken)):
        ends = by_hand_interval([correct], [unpruned], kept, 40, 0.01, unbroken, 200, 3, 0.95)
        np.testing.assert_allclose([interval.low, interval.high], ends, rtol=0, atol=1e-12)
    assert found.fraction.low < found.fraction.high


def test_sets_are_drawn_by_themselves():
    parts = [noisy(400, 60, seed=place) for place in range(3)]
    correct, unpruned, kept = [part[0] for part in parts], [part[1] for part in parts], parts[0][2]
    sets, before = dict(zip("abc", correct, strict=True)), dict(zip("abc", unpruned, strict=True))
    found = largest_pruned(sets, kept, 60, before, replicates=100, seed=5)
    for unbroken, interval in ((False, found.fraction), (True, found.unbroken)):
        ends = by_hand_interval(correct, unpruned, kept, 60, 0.01, unbroken, 100, 5, 0.95)
        np.testing.assert_allclose([interval.low, interval.high], ends, rtol=0, atol=1e-12)


def test_what_is_open():
    unpruned = np.ones(3000, dtype=bool)
    sweep = [answers([lost], 3000)[0][0] for lost in (0, 1, 29, 31, 300, 3000)]
    lost = module._Lost(unpruned.astype(np.int8) - np.array(sweep).astype(np.int8), 1.0)
    open_ = module._open_questions([lost], lost.mean, 0.01, 2000)
    # nothing lost or everything lost has no spread; one image or 300 of 3000 are far from 30
    assert open_.tolist() == [False, True, True, True, False, False]
    # Bernstein's bound is no tighter than what happens
    rng = np.random.default_rng(0)
    drawn = rng.binomial(3000, 1 / 3000, 10**6) / 3000
    assert (drawn > 0.01).mean() < 1e-6


def test_chunks_do_not_change_anything(monkeypatch):
    correct, unpruned, kept = noisy(101, 10, seed=5)
    before = largest_pruned(correct, kept, 10, unpruned, replicates=97)
    for draws in (1, 300, 2**20):
        monkeypatch.setattr(module, "_DRAWS", draws)
        assert largest_pruned(correct, kept, 10, unpruned, replicates=97) == before


def test_the_interval_holds_the_headline_of_all_images():
    everything, all_before, kept = noisy(200_000, 20, seed=7)
    losses = all_before.mean() - everything.mean(axis=1)
    truth = 1 - min(k for k, lost in zip(kept, losses, strict=True) if k and lost <= 0.03) / 20
    rng, held = np.random.default_rng(8), 0
    for seed in range(40):
        images = rng.choice(200_000, 800, replace=False)
        found = largest_pruned(
            everything[:, images], kept, 20, all_before[images], points=0.03, replicates=200, seed=seed
        )
        held += found.fraction.low <= truth <= found.fraction.high
    assert held >= 34  # 95 % of 40 are 38; 33 or fewer have a chance of 0.3 %


def test_agreement_is_a_headline_too():
    predictions = np.array([[1, 2, 3, 4], [1, 2, 3, 0], [0, 0, 3, 0]])
    found = largest_pruned(predictions == predictions[0], [3, 2, 1], 3, np.ones(4, dtype=bool), points=0.25)
    assert (found.kept, found.unpruned, found.accuracy) == (2, 1.0, 0.75)


def test_torch_and_numpy_agree_and_seeds_differ():
    correct, unpruned, kept = noisy(300, 30, seed=0, sharp=2)
    forth = largest_pruned(correct, kept, 30, unpruned, replicates=50)
    assert largest_pruned(torch.from_numpy(correct), kept, 30, torch.from_numpy(unpruned), replicates=50) == forth
    others = {largest_pruned(correct, kept, 30, unpruned, replicates=50, seed=seed).fraction.low for seed in range(5)}
    assert len(others) > 1
    assert (forth.fraction.level, forth.fraction.replicates, forth.fraction.seed) == (0.95, 50, 0)


def test_imagenet_size_takes_seconds():
    correct, unpruned, kept = noisy(50_000, 200, seed=0)
    start = time.thread_time()
    largest_pruned(correct, kept, 200, unpruned)
    assert time.thread_time() - start < 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept": [2, 2]}, "kept must be different numbers from 0 to the total of 2"),
        ({"kept": [3, 1]}, r"not \[3, 1\]"),
        ({"kept": [2, -1]}, "kept must be"),
        ({"total": 0}, "total of 0"),
        ({"kept": [2]}, r"the pruned one \(1, n\)"),
        ({"points": 1.0}, r"points is an accuracy in \[0, 1\).*1.0"),
        ({"points": -0.1}, "points"),
        ({"replicates": 0}, "at least one replicate"),
        ({"level": 95.0}, "level of an interval"),
        ({"unpruned": np.ones(4, dtype=bool)}, "unpruned model has"),
        ({"unpruned": np.ones((1, 3), dtype=bool)}, "unpruned model has"),
        ({"unpruned": np.ones(3)}, "booleans"),
        ({"correct": np.ones((2, 3), dtype=int)}, "booleans"),
        ({"correct": np.ones((2, 0), dtype=bool), "unpruned": np.ones(0, dtype=bool)}, "n at least 1"),
        ({"correct": {}, "unpruned": {}}, "same sets"),
        ({"correct": {"sketch": np.ones((2, 3), dtype=bool)}}, r"same sets, got \['sketch'\] and \['images'\]"),
    ],
)
def test_refusals(change, message):
    asked = {"correct": np.ones((2, 3), dtype=bool), "kept": [2, 1], "total": 2, "unpruned": np.ones(3, dtype=bool)}
    with pytest.raises(ValueError, match=message):
        largest_pruned(**asked | change)
