"""Held-out parts and few-shot draws."""

import numpy as np
import pytest

from lightning_robust.data.imagenet.splits import few_of_each, held_out


def test_the_held_out_part_is_a_function_of_the_seed():
    chosen = held_out(100, 30, seed=4)
    assert chosen.sum() == 30
    assert np.array_equal(chosen, held_out(100, 30, seed=4))
    assert not np.array_equal(chosen, held_out(100, 30, seed=5))
    assert (chosen <= held_out(100, 31, seed=4)).all(), "a larger part contains a smaller one"
    with pytest.raises(ValueError, match="n_val=100 of 100 training images cannot be held out"):
        held_out(100, 100, seed=0)


def test_few_shots_take_k_of_each_class_among_the_candidates():
    labels = np.repeat(np.arange(5), 20)
    candidates = np.flatnonzero(np.arange(100) % 2 == 0)
    few = few_of_each(labels, candidates, 4, 0, "abcde")
    assert np.bincount(labels[few]).tolist() == [4] * 5
    assert set(few) <= set(candidates)
    assert set(few) <= set(few_of_each(labels, candidates, 6, 0, "abcde")), "more shots add to fewer"
    assert not np.array_equal(few, few_of_each(labels, candidates, 4, 1, "abcde"))
    with pytest.raises(ValueError, match="shots=11: the class 'a' has only 10 training images"):
        few_of_each(labels, candidates, 11, 0, "abcde")
