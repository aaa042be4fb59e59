"""Parameter groups and the schedule, by hand."""

import math

import pytest
import torch
from torch import nn

from lightning_robust.training.optimisation import adamw_with_schedule, decay_groups, warmup_cosine


def test_vectors_and_scalars_do_not_decay_and_frozen_weights_are_left_out():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2), nn.Linear(2, 2))
    model.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    model[3].requires_grad_(False)
    decaying, free = decay_groups(model.parameters(), 0.1)
    assert decaying["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    assert [id(p) for p in decaying["params"]] == [id(model[0].weight), id(model[2].weight)]
    assert {id(p) for p in free["params"]} == {
        id(p) for p in (model.scale, model[0].bias, model[1].weight, model[1].bias, model[2].bias)
    }


def test_the_schedule_rises_linearly_then_falls_as_half_a_cosine():
    factors = [warmup_cosine(step, warmup_steps=4, total_steps=12) for step in range(14)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[6] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert factors[8] == pytest.approx(0.5)
    assert factors[12] == factors[13] == pytest.approx(0.0, abs=1e-15)
    assert warmup_cosine(0, warmup_steps=0, total_steps=1) == 1.0
    assert warmup_cosine(9, warmup_steps=20, total_steps=10) == 0.5  # a run that ends inside its warm-up


def test_the_optimiser_steps_through_the_schedule():
    weight = nn.Parameter(torch.ones(2, 2))
    groups = decay_groups([weight], 0.5)
    optimizer, schedule = adamw_with_schedule(groups, lr=0.1, betas=(0.9, 0.98), warmup_steps=2, total_steps=6)
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        schedule.step()
    expected = [0.1 * warmup_cosine(step, warmup_steps=2, total_steps=6) for step in range(6)]
    assert rates == pytest.approx(expected)
    decayed = math.prod(1 - 0.5 * rate for rate in expected)  # zero gradients: only the decoupled decay acts
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), decayed))
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.98)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"lr": 0.0}, "lr > 0"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"total_steps": float("inf")}, "not inf: set max_epochs"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, match):
    groups = decay_groups([nn.Parameter(torch.ones(1))], 0.1)
    arguments = {"groups": groups, "lr": 0.1, "betas": (0.9, 0.9), "warmup_steps": 1, "total_steps": 5} | changes
    with pytest.raises(ValueError, match=match):
        adamw_with_schedule(**arguments)


def test_groups_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="weight_decay >= 0, not -1"):
        decay_groups([nn.Parameter(torch.ones(1))], -1.0)
    with pytest.raises(ValueError, match="Nothing to train"):
        decay_groups([nn.Parameter(torch.ones(1), requires_grad=False)], 0.1)


def test_a_warm_up_that_outlasts_the_run_is_warned_about():
    groups = decay_groups([nn.Parameter(torch.ones(1))], 0.1)
    with pytest.warns(UserWarning, match="50 steps does not end within the run's 6 steps"):
        adamw_with_schedule(groups, lr=0.1, betas=(0.9, 0.9), warmup_steps=50, total_steps=6)
