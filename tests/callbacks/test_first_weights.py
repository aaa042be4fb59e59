"""When one process judges for all."""

from types import SimpleNamespace

import pytest
import torch
from callback_cases import Ours
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from lightning_robust.callbacks.first_weights import check_whole_weights, weights_of_first, why_alone
from lightning_robust.callbacks.together import Together, overwrite
from lightning_robust.errors import UserError


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
        (DeepSpeedStrategy, 2, Two(), "with DeepSpeedStrategy a process may hold a part of the weights"),
        (DDPStrategy, 2, Together(), "the processes have no group to exchange results in"),
        (FSDPStrategy, 1, Together(), None),
    ],
)
def test_who_can_share(strategy, world, together, why):
    trainer = SimpleNamespace(strategy=strategy.__new__(strategy), world_size=world)
    assert why_alone(trainer, Ours(), {}, together) == why


class ThirdStage(DeepSpeedStrategy):
    zero_stage_3 = True


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy, ThirdStage])
def test_parts_of_weights_are_refused_before_training(strategy):
    trainer = SimpleNamespace(strategy=strategy.__new__(strategy), world_size=2)
    with pytest.raises(UserError, match=f"with {strategy.__name__} each process has a part of them: train with"):
        check_whole_weights(trainer)
    trainer.world_size = 1
    check_whole_weights(trainer)


def test_a_buffer_made_in_inference_mode_is_overwritten():
    with torch.inference_mode():
        buffer = torch.zeros(3)
    overwrite(buffer, torch.arange(3.0))
    assert buffer.tolist() == [0.0, 1.0, 2.0]


def test_one_process_keeps_its_own():
    module, theta0 = Ours(), {}
    with weights_of_first(module, theta0, Together()) as given:
        assert given is theta0
