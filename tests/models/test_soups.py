"""Soups: means against numpy, laws, the greedy recipe step by step, memory of one running mean, refusals."""

import gc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_robust.models import interpolate
from lightning_robust.models.soups import RunningMean, greedy_soup, uniform_soup

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def state(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {
        "w": torch.randn(5, 3, generator=generator, dtype=torch.float64).to(dtype),
        "scalar": torch.randn((), generator=generator, dtype=torch.float64).to(dtype),
        "steps": torch.tensor(seed),
    }


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_uniform_soup_is_the_mean_and_integers_are_the_last_models(count, dtype):
    states = [state(seed, dtype) for seed in range(count)]
    soup = uniform_soup(iter(states))
    for name in ("w", "scalar"):
        mean = np.mean([one[name].double().numpy() for one in states], axis=0)
        step = torch.finfo(dtype).eps
        np.testing.assert_allclose(soup[name].double().numpy(), mean, rtol=step, atol=step)
        assert soup[name].dtype == dtype
    assert soup["steps"] == count - 1
    assert same(states[0], state(0, dtype))  # nothing was changed


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_uniform_soup_of_two_is_the_middle_of_the_path_bitwise(dtype):
    one, two = state(0, dtype), state(1, dtype)
    assert same(uniform_soup([one, two]), interpolate(one, two, 0.5))


@given(st.permutations(range(5)))
def test_the_order_of_models_matters_to_rounding_alone(order):
    states = [{"w": state(seed, torch.float64)["w"]} for seed in range(5)]
    torch.testing.assert_close(
        uniform_soup(states[i] for i in order)["w"], uniform_soup(states)["w"], rtol=1e-13, atol=1e-15
    )


@given(st.integers(1, 7), st.floats(-(2.0**100), 2.0**100, width=32))
def test_values_equal_in_all_models_stay(count, value):
    states = [{"w": torch.tensor([value, float("-inf")])} for _ in range(count)]
    assert torch.equal(uniform_soup(states)["w"], states[0]["w"])


def test_a_trial_is_the_mean_with_one_more_and_changes_nothing():
    mean = RunningMean()
    assert same(mean.trial(state(0)), state(0))
    for seed in (0, 1):
        mean.add(state(seed))
    taken = state(2)
    assert same(mean.trial(taken), uniform_soup(state(seed) for seed in range(3)))
    assert taken == {}
    assert mean.count == 2
    assert same(mean.state(), uniform_soup([state(0), state(1)]))


def loader(value):
    return lambda: {"w": torch.tensor([float(value)])}


def closeness(target):
    return lambda theta: -abs(float(theta["w"]) - target)


def test_the_greedy_recipe_by_hand():
    # alone: distances from 10 are 1, 6, 3, 2, so the order is 9, 12, 7, 4
    said = []
    soup = greedy_soup([loader(value) for value in (9, 4, 7, 12)], closeness(10), said.append)
    assert soup.alone == (-1, -6, -3, -2)
    # 9; with 12: 10.5, nearer, kept; with 7: 28/3, farther than 0.5, left out; with 4: 25/3, left out
    assert soup.members == (0, 3)
    assert [(index, kept) for index, _, kept in soup.trials] == [(0, True), (3, True), (2, False), (1, False)]
    assert soup.state["w"].tolist() == [10.5]
    assert soup.score == -0.5
    assert len(said) == 7
    assert said[-1].endswith("left out")


def test_equal_scores_keep_the_order_given_and_what_is_not_worse_is_kept():
    soup = greedy_soup([loader(value) for value in (1, 2, 6)], lambda theta: 0.5)
    assert soup.members == (0, 1, 2)
    assert soup.state["w"].tolist() == [3.0]


def test_what_cannot_be_judged_is_left_out():
    never, said = -float("inf"), []
    # 5 has no score; 1.5 is best, with 1 worse, with 3 at 2.25 better
    judge = lambda w: never if w == 5 or w == 2.0 else -abs(w - 2)  # noqa: E731
    soup = greedy_soup([loader(v) for v in (5, 1, 3, 1.5)], lambda theta: judge(float(theta["w"])), said.append)
    assert soup.alone == (never, -1, -1, -0.5)
    assert soup.members == (3, 2)
    assert [index for index, *_ in soup.trials] == [3, 1, 2]  # 5 is not tried
    assert "model 1 of 4 alone: cannot be judged, left out" in said
    with pytest.raises(ValueError, match="None of the 2 models can be judged"):
        greedy_soup([loader(1), loader(2)], lambda _: never)
    # a soup that cannot be judged is not kept
    soup = greedy_soup([loader(1), loader(3)], lambda theta: judge(float(theta["w"])), said.append)
    assert (soup.members, soup.trials[1]) == ((0,), (1, never, False))
    assert said[-1] == "soup of 1 with model 2: cannot be judged, left out"
    assert not any("inf" in sentence for sentence in said)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=6))
def test_a_greedy_soup_is_never_worse_than_the_best_model_and_is_the_mean_of_its_members(values):
    score = closeness(1.0)
    soup = greedy_soup([loader(value) for value in values], score)
    assert soup.score >= max(soup.alone)
    assert soup.score == score(soup.state)
    assert same(soup.state, uniform_soup(loader(values[i])() for i in soup.members))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_greedy_scores_states_of_the_models_own_dtype(dtype):
    seen = []

    def score(theta):
        seen.append(theta["w"].dtype)
        return float(theta["w"].sum())

    soup = greedy_soup([lambda seed=seed: state(seed, dtype) for seed in range(3)], score)
    assert set(seen) == {dtype}
    assert soup.state["w"].dtype == dtype


def live_bytes(at_least):
    storages = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.device.type == "cpu" and thing.numel() >= at_least:
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


SIZE = 4099


@pytest.fixture
def watched():
    """Loads big states, and notes what is alive right after each load and at each score, in states, above the start."""
    gc.collect()  # other tests' tensors
    start = live_bytes(SIZE)
    notes = {"load": [], "score": []}

    def load(seed):
        theta = {f"w{i}": torch.full((SIZE,), float(seed)) for i in range(10)}
        notes["load"].append((live_bytes(SIZE) - start) / (10 * SIZE * 4))
        return theta

    def score(theta):
        notes["score"].append((live_bytes(SIZE) - start) / (10 * SIZE * 4))
        return float(theta["w0"][0])

    return notes, load, score


def test_memory_of_a_uniform_soup_is_the_running_mean_and_one_model(watched):
    notes, load, _ = watched
    soup = uniform_soup(load(seed) for seed in range(6))
    assert soup["w3"][0] == 2.5
    assert max(notes["load"]) <= 2.0


def test_memory_of_a_greedy_soup_is_the_running_mean_and_one_model(watched):
    notes, load, score = watched
    soup = greedy_soup([lambda seed=seed: load(seed) for seed in range(5)], score)
    assert soup.members == (4,)
    assert len(notes["score"]) == 9
    assert max(notes["load"]) <= 2.0
    assert max(notes["score"]) <= 2.0


def test_nothing_to_mix_and_states_that_differ_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        uniform_soup([])
    with pytest.raises(ValueError, match="at least one"):
        greedy_soup([], lambda theta: 0.0)
    with pytest.raises(ValueError, match=r"the first model and model 2 are not states .* 1 only in model 2 \(new\)"):
        uniform_soup([state(0), {**state(1), "new": torch.ones(1)}])
    with pytest.raises(ValueError, match="of different dtype"):
        uniform_soup([state(0), state(1, torch.float16)])
    with pytest.raises(ValueError, match="of different shape"):
        greedy_soup([loader(1), lambda: {"w": torch.ones(2)}], lambda theta: 0.0)
    with pytest.raises(ValueError, match="score of model 2 is not a number"):
        greedy_soup([loader(1), loader(2)], lambda theta: 0.0 if theta["w"] == 1 else float("nan"))
