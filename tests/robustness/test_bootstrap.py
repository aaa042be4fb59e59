"""Paired bootstrap: against drawing image by image, against the normal formula, and its refusals."""

import time

import jaxtyping
import numpy as np
import pytest
import torch

from lightning_robust.robustness import mean_shift_difference, paired_bootstrap, resampled_accuracies


@pytest.fixture
def unchecked_shapes():
    """What a user sees: jaxtyping checks shapes under pytest only, the function's own check comes after."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def answers(n, a, b, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random(n) < a, rng.random(n) < b


def drawn_image_by_image(pair, replicates, seed):
    rng = np.random.default_rng(seed)
    n = pair.shape[1]
    return np.stack([pair[:, rng.integers(0, n, n)].mean(axis=1) for _ in range(replicates)])


def test_same_distribution_as_drawing_image_by_image():
    pair = np.stack(answers(40, 0.8, 0.6))
    fast = resampled_accuracies(pair, 20_000, np.random.default_rng(1))
    slow = drawn_image_by_image(pair, 20_000, seed=2)
    for weights in ([1, 0], [0, 1], [1, -1]):
        statistic, reference = fast @ weights, slow @ weights
        values = np.arange(-40, 41) / 40
        gap = np.searchsorted(np.sort(statistic), values + 1e-9) - np.searchsorted(np.sort(reference), values + 1e-9)
        # Kolmogorov–Smirnov: 1.95 * sqrt(2 / R) is the 0.1 % critical value
        assert np.abs(gap).max() / 20_000 < 1.95 * np.sqrt(2 / 20_000)


def test_interval_is_that_of_the_normal_formula_for_many_images():
    a, b = answers(10_000, 0.85, 0.8)
    interval = paired_bootstrap(a, b, replicates=20_000)
    difference = a.astype(float) - b.astype(float)
    error = difference.std() / np.sqrt(len(a))
    assert interval.estimate == pytest.approx(difference.mean(), abs=1e-12)
    assert interval.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.1 * error)


def test_pairing_removes_the_shared_noise():
    a, _ = answers(2000, 0.7, 0.7)
    b = a.copy()
    b[:20] = ~b[:20]
    paired = paired_bootstrap(a, b)
    unpaired = paired_bootstrap(a, np.random.default_rng(3).permutation(b))
    assert paired.high - paired.low < 0.3 * (unpaired.high - unpaired.low)


def test_models_that_never_differ_have_no_width():
    a, _ = answers(50, 0.7, 0.7)
    interval = paired_bootstrap(a, a.copy())
    assert (interval.estimate, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert not interval.excludes_zero


def test_swapping_the_models_mirrors_the_interval():
    a, b = answers(300, 0.8, 0.6)
    there, back = paired_bootstrap(a, b, replicates=20_000), paired_bootstrap(b, a, replicates=20_000)
    assert there.estimate == -back.estimate
    assert there.low == pytest.approx(-back.high, abs=0.01)
    assert there.excludes_zero
    assert back.excludes_zero


def test_same_seed_same_interval_other_seed_another():
    a, b = answers(300, 0.8, 0.6)
    assert paired_bootstrap(a, b, seed=5) == paired_bootstrap(a, b, seed=5)
    assert paired_bootstrap(a, b, seed=5).low != paired_bootstrap(a, b, seed=6).low


def test_torch_and_numpy_agree():
    a, b = answers(100, 0.8, 0.6)
    assert paired_bootstrap(torch.from_numpy(a), torch.from_numpy(b)) == paired_bootstrap(a, b)


def test_chunks_do_not_change_the_shape(monkeypatch):
    monkeypatch.setattr("lightning_robust.robustness.bootstrap._CHUNK", 8)
    pair = np.stack(answers(100, 0.8, 0.6))
    accuracies = resampled_accuracies(pair, 7, np.random.default_rng(0))
    assert accuracies.shape == (7, 2)
    assert np.abs(accuracies - pair.mean(axis=1)).max() < 0.25


def test_every_shift_weighs_the_same():
    a = {"small": np.array([True, True]), "large": np.zeros(200, dtype=bool)}
    b = {"large": np.zeros(200, dtype=bool), "small": np.array([False, False])}
    assert mean_shift_difference(a, b).estimate == 0.5
    assert mean_shift_difference(a, b).low == 0.5


def test_shifts_are_resampled_independently():
    a, b = answers(400, 0.8, 0.6)
    one = paired_bootstrap(a, b, replicates=20_000)
    four = mean_shift_difference(dict.fromkeys("abcd", a), dict.fromkeys("abcd", b), replicates=20_000)
    # the mean of four independent differences has half the spread of one
    assert (four.high - four.low) / (one.high - one.low) == pytest.approx(0.5, abs=0.03)


def test_order_of_the_shifts_does_not_matter():
    a1, b1 = answers(50, 0.8, 0.6, seed=1)
    a2, b2 = answers(60, 0.5, 0.6, seed=2)
    forth = mean_shift_difference({"x": a1, "y": a2}, {"x": b1, "y": b2})
    assert forth == mean_shift_difference({"y": a2, "x": a1}, {"y": b2, "x": b1})


def test_five_shifts_of_two_thousand_images_are_quick():
    pairs = {f"shift{i}": answers(2000, 0.7, 0.65, seed=i) for i in range(5)}
    start = time.perf_counter()
    mean_shift_difference({k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()})
    assert time.perf_counter() - start < 1.0


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("a", "b", "level", "message"),
    [
        (np.array([True]), np.array([True, False]), 0.95, "shapes"),
        (np.array([], dtype=bool), np.array([], dtype=bool), 0.95, "at least one image"),
        (np.array([1]), np.array([0]), 0.95, "booleans"),
        (np.array([True]), np.array([True]), 95, "level"),
    ],
)
def test_refusals(a, b, level, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(a, b, level=level)


def test_different_shifts_are_refused():
    one = np.array([True])
    with pytest.raises(ValueError, match=r"same shifts.*sketch.*art"):
        mean_shift_difference({"sketch": one}, {"art": one})
    with pytest.raises(ValueError, match="same shifts"):
        mean_shift_difference({}, {})
