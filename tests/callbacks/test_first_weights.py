"""When one process judges for all."""

from types import SimpleNamespace

import pytest
from callback_cases import Ours
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy

from lightning_robust.callbacks.first_weights import weights_of_first, why_alone
from lightning_robust.callbacks.together import Together


class Two(Together):
    """Two processes of which the other is like this one."""

    def __init__(self):
        super().__init__()
        self.world = 2

    def each(self, find):
        return [find(), find()]


@pytest.mark.parametrize(
    ("strategy", "world", "together", "why"),
    [
        (DDPStrategy, 2, Two(), None),
        (FSDPStrategy, 2, Two(), "with FSDPStrategy a process may hold a part of the weights"),
        (DeepSpeedStrategy, 2, Two(), "with DeepSpeedStrategy a process may hold a part of the weights"),
        (DDPStrategy, 2, Together(), "the processes have no group to exchange results in"),
        (FSDPStrategy, 1, Together(), None),
    ],
)
def test_who_can_share(strategy, world, together, why):
    trainer = SimpleNamespace(strategy=strategy.__new__(strategy), world_size=world)
    assert why_alone(trainer, Ours(), {}, together) == why


def test_one_process_keeps_its_own():
    module, theta0 = Ours(), {}
    with weights_of_first(module, theta0, Together()) as given:
        assert given is theta0
