"""Nothing may be different afterwards, whatever the body does and however it ends."""

import contextlib
import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from lightning_robust.signatures import leave_unchanged, measured_pass


class SideEffects(nn.Module):
    """A module whose eval() is not innocent, as adapters that merge their weights have it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.merged = False

    def train(self, mode=True):
        self.merged = not mode
        return super().train(mode)

    def forward(self, x):
        return x * self.weight


def build():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(), SideEffects())
    model[2].eval()
    model[0].bias.requires_grad_(False)
    model(torch.randn(8, 3)).sum().backward()
    return model


def snapshot(model):
    return {
        "modes": [m.training for m in model.modules()],
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "buffers": [id(b) for b in model.buffers()],
        "grads": [
            (p.requires_grad, id(p.grad), None if p.grad is None else p.grad.clone()) for p in model.parameters()
        ],
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),  # noqa: NPY002
    }


def assert_equal(a, b):
    assert (a["modes"], a["buffers"], a["random"]) == (b["modes"], b["buffers"], b["random"])
    for key, value in a["state"].items():
        assert torch.equal(value, b["state"][key]), key
    for (need, who, grad), (need2, who2, grad2) in zip(a["grads"], b["grads"], strict=True):
        assert (need, who) == (need2, who2)
        assert grad is None or torch.equal(grad, grad2)


def disturb(model):
    random.random()
    np.random.rand()  # noqa: NPY002
    torch.rand(2)
    for module in model.modules():
        module.training = not module.training
    model[1].training = True
    with torch.enable_grad():
        model.requires_grad_(True)
        model(torch.randn(8, 3)).sum().backward()
    model.requires_grad_(False)
    model[1].running_var = torch.zeros(2)


@pytest.mark.parametrize("guard", [leave_unchanged, measured_pass])
@pytest.mark.parametrize("raises", [False, True])
def test_everything_is_restored(guard, raises):
    model = build()
    before = snapshot(model)
    with contextlib.suppress(ZeroDivisionError), guard(model):
        disturb(model)
        if raises:
            raise ZeroDivisionError
    assert_equal(before, snapshot(model))


def test_training_goes_on_bitwise_as_if_nothing_had_been():
    def trained(measured):
        model = build()
        optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
        for _ in range(4):
            optimiser.zero_grad()
            model(torch.randn(8, 3)).square().sum().backward()
            if measured:
                with measured_pass(model):
                    model(torch.randn(100, 3))
            optimiser.step()
        return model.state_dict()

    plain, watched = trained(False), trained(True)
    assert all(torch.equal(plain[key], watched[key]) for key in plain)


def test_inside_a_measured_pass():
    model = build()
    with measured_pass(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.randn(8, 3)).requires_grad
        assert not torch.backends.mha.get_fastpath_enabled()
        assert model[3].merged is False, "eval() has not been called"
        assert all(p.grad is None for p in model.parameters())
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.is_grad_enabled()


def test_a_measured_pass_may_keep_the_fused_path():
    with measured_pass(build(), fast_path=True):
        assert torch.backends.mha.get_fastpath_enabled()


def test_one_failing_restoration_does_not_stop_the_others():
    model = build()
    before = snapshot(model)

    def damage():
        with leave_unchanged(model):
            disturb(model)
            model[1].running_mean.resize_(3)  # cannot be copied back

    with pytest.raises(RuntimeError, match="must match"):
        damage()
    after = snapshot(model)
    assert (after["modes"], after["random"]) == (before["modes"], before["random"])


def test_hooks_of_others_stay():
    model = build()
    model[0].register_forward_hook(lambda *_: None)
    with measured_pass(model):
        pass
    assert len(model[0]._forward_hooks) == 1


def test_shared_and_missing_buffers():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    model.append(model[0])
    twin = copy.deepcopy(model)
    with leave_unchanged(model):
        model(torch.randn(9, 2))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), twin.buffers(), strict=True))
