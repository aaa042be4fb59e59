"""The budget over layers: against all allocations of small networks, its laws, and the uniform rival."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_robust.models.rank_budget import MatrixShape, allocate, total_cost, uniform_ranks


def loss(energies, ranks, weights=None):
    lost = 0.0
    for name, rank in ranks.items():
        e = np.asarray(energies[name], dtype=float)
        share = 0.0 if rank is None else e[rank:].sum() / e.sum()
        lost += share * (1 if weights is None else weights[name])
    return lost


def best_loss(energies, shapes, budget, of, weights=None, fixed=0):
    options = [[*range(1, s.largest(of) + 1), None] if s.largest(of) else [None] for s in shapes.values()]
    return min(
        loss(energies, ranks, weights)
        for chosen in itertools.product(*options)
        if total_cost(shapes, ranks := dict(zip(shapes, chosen, strict=True)), of=of, fixed=fixed) <= budget
    )


@st.composite
def networks(draw):
    shapes, energies, weights = {}, {}, {}
    for index in range(draw(st.integers(1, 4))):
        out, inputs = draw(st.integers(1, 12)), draw(st.integers(1, 12))
        shift = out if draw(st.booleans()) else 0
        shapes[f"w{index}"] = MatrixShape(out, inputs, uses=draw(st.integers(1, 5)), shift=shift)
        spectrum = st.lists(st.floats(0, 10), min_size=min(out, inputs), max_size=min(out, inputs))
        energies[f"w{index}"] = [x + 1e-3 for x in sorted(draw(spectrum), reverse=True)]
        weights[f"w{index}"] = draw(st.floats(0.1, 10))
    return shapes, energies, weights, draw(st.sampled_from(["parameters", "flops"])), draw(st.integers(0, 50))


def least_share(shapes, of, fixed):
    ones = {name: 1 if shape.largest(of) else None for name, shape in shapes.items()}
    whole = total_cost(shapes, dict.fromkeys(shapes), of=of, fixed=fixed)
    return total_cost(shapes, ones, of=of, fixed=fixed) / whole, whole


@settings(max_examples=60, deadline=None)
@given(networks(), st.floats(0, 1))
def test_the_budget_is_met_from_below_by_less_than_one_rank(network, position):
    shapes, energies, weights, of, fixed = network
    least, whole = least_share(shapes, of, fixed)
    keep = min(least + position * (1 - least) + 1e-9, 1.0)
    ranks = allocate(energies, shapes, keep, of=of, fixed=fixed, weights=weights)
    left = keep * whole - total_cost(shapes, ranks, of=of, fixed=fixed)
    shift = 0 if of == "flops" else max(s.shift for s in shapes.values())
    steps = [s.cost(2, of) - s.cost(1, of) for s in shapes.values()]
    assert left >= -1e-6
    assert left <= max(steps) + shift or not any(rank is not None for rank in ranks.values())


@settings(max_examples=60, deadline=None)
@given(networks())
def test_ranks_grow_with_the_budget_and_end_dense(network):
    shapes, energies, weights, of, fixed = network
    least, _ = least_share(shapes, of, fixed)
    before = dict.fromkeys(shapes, 0)
    for keep in [*np.linspace(min(least + 1e-9, 1), 1, 25)[:-1], 1.0]:
        ranks = allocate(energies, shapes, float(keep), of=of, fixed=fixed, weights=weights)
        now = {name: 10_000 if rank is None else rank for name, rank in ranks.items()}
        assert all(now[name] >= before[name] for name in shapes)
        before = now
    assert all(rank is None for rank in ranks.values())


@settings(max_examples=40, deadline=None)
@given(networks(), st.floats(0, 1))
def test_no_allocation_of_the_same_cost_loses_less_where_a_step_ends(network, position):
    shapes, energies, weights, of, fixed = network
    if len(shapes) > 3:
        shapes = {name: shapes[name] for name in list(shapes)[:3]}
        energies, weights = ({name: d[name] for name in shapes} for d in (energies, weights))
    least, whole = least_share(shapes, of, fixed)
    keep = min(least + position * (1 - least) + 1e-9, 1.0)
    ranks = allocate(energies, shapes, keep, of=of, fixed=fixed, weights=weights)
    ours = loss(energies, ranks, weights)
    # the budget's optimum is never better than ours by more than what the next step of the hull would save
    bound = best_loss(energies, shapes, keep * whole, of, weights, fixed)
    assert ours >= bound - 1e-9
    spent = total_cost(shapes, ranks, of=of, fixed=fixed)
    larger = [
        loss(energies, allocate(energies, shapes, float(k), of=of, fixed=fixed, weights=weights), weights)
        for k in np.linspace(keep, 1, 40)
        if total_cost(
            shapes, allocate(energies, shapes, float(k), of=of, fixed=fixed, weights=weights), of=of, fixed=fixed
        )
        > spent
    ]
    assert bound >= min([ours, *larger]) - 1e-9


def test_a_known_optimum_found_by_trying_all():
    shapes = {"a": MatrixShape(8, 8), "b": MatrixShape(6, 10), "c": MatrixShape(10, 5)}
    energies = {"a": [8, 4, 2, 1, 0.5, 0.2, 0.1, 0.1], "b": [9, 8, 7, 6, 5, 4], "c": [5, 0.1, 0.1, 0.1, 0.1]}
    ranks = allocate(energies, shapes, 0.7)
    budget = total_cost(shapes, ranks)
    assert loss(energies, ranks) == pytest.approx(best_loss(energies, shapes, budget, "parameters"))
    assert ranks["c"] == 1
    assert ranks["b"] is None


def test_weights_move_the_budget():
    shapes = {"a": MatrixShape(16, 16), "b": MatrixShape(16, 16)}
    energies = {name: [2.0**-k for k in range(16)] for name in shapes}
    even = allocate(energies, shapes, 0.5)
    assert abs(even["a"] - even["b"]) <= 1
    tilted = allocate(energies, shapes, 0.5, weights={"a": 100.0, "b": 1.0})
    assert tilted["a"] is None or tilted["a"] > even["a"] + 1


def test_multiplications_are_counted_where_they_are_asked_for():
    shapes = {"many positions": MatrixShape(16, 16, uses=100), "one": MatrixShape(16, 16)}
    energies = {name: [2.0**-k for k in range(16)] for name in shapes}
    ranks = allocate(energies, shapes, 0.5, of="flops")
    assert ranks["one"] is None
    assert total_cost(shapes, ranks, of="flops") <= 0.5 * total_cost(shapes, dict.fromkeys(shapes), of="flops")


def test_a_matrix_too_small_to_gain_stays_dense():
    assert MatrixShape(1, 9).largest() == 0
    assert MatrixShape(4, 4, shift=4).largest() == 1
    shapes = {"row": MatrixShape(1, 9), "a": MatrixShape(8, 8)}
    assert allocate({"row": [1.0], "a": [1.0] * 8}, shapes, 0.5)["row"] is None
    assert uniform_ranks(shapes, 0.5)["row"] is None


@settings(max_examples=40, deadline=None)
@given(networks(), st.floats(0, 1))
def test_uniform_ranks_are_one_share_of_every_matrix_and_meet_the_budget(network, position):
    shapes, _, _, of, fixed = network
    least, whole = least_share(shapes, of, fixed)
    keep = min(least + position * (1 - least) + 1e-9, 1.0)
    ranks = uniform_ranks(shapes, keep, of=of, fixed=fixed)
    assert total_cost(shapes, ranks, of=of, fixed=fixed) <= keep * whole + 1e-6
    if keep < 1:
        free = [
            (rank * (s.out + s.inputs) / (s.out * s.inputs), (rank + 1) * (s.out + s.inputs) / (s.out * s.inputs))
            for s, rank in ((shapes[name], rank) for name, rank in ranks.items())
            if rank is not None and 1 < rank < s.largest(of)
        ]
        if free:  # one share lies in the steps of all of them
            assert max(low for low, _ in free) <= min(high for _, high in free) + 1e-9
    assert all(rank is None for rank in uniform_ranks(shapes, 1.0, of=of, fixed=fixed).values())


def test_refusals():
    shapes = {"a": MatrixShape(8, 8)}
    for keep in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            allocate({"a": [1.0] * 8}, shapes, keep)
    with pytest.raises(ValueError, match=r"still keeps 0\.25\d* of the parameters"):
        allocate({"a": [1.0] * 8}, shapes, 0.1)
    with pytest.raises(ValueError, match=r"still keeps 0\.62"):
        uniform_ranks(shapes, 0.3, fixed=64)
    with pytest.raises(ValueError, match="'b' is in one of them only"):
        allocate({"a": [1.0] * 8, "b": [1.0]}, shapes, 0.5)
    with pytest.raises(ValueError, match="weights and the shapes"):
        allocate({"a": [1.0] * 8}, shapes, 0.5, weights={})
    with pytest.raises(ValueError, match=r"min\(out, in\) = 8 energies, not 7"):
        allocate({"a": [1.0] * 7}, shapes, 0.5)
    with pytest.raises(ValueError, match="parameters or flops, not 'bytes'"):
        allocate({"a": [1.0] * 8}, shapes, 0.5, of="bytes")
