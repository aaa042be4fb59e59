"""What an image costs an architecture, against published counts and the loaded network."""

import pytest
import torch

from lightning_robust.models import load_encoder
from lightning_robust.models.architecture_cost import architecture_cost
from lightning_robust.models.cost import forward_flops


def test_costs_are_those_of_the_networks_and_need_no_memory():
    # torchvision counts a multiplication and an addition as one: 4.09 G for resnet50
    assert architecture_cost("untrained:timm:resnet50.tv_in1k").image / 2 == pytest.approx(4.09e9, rel=0.01)
    found = architecture_cost("scenes-clip")
    model = load_encoder("scenes-clip").model
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.image == forward_flops(model.visual, torch.rand(1, 3, 32, 32))
    assert found.text > 0
    assert torch.get_default_device() == torch.device("cpu")
    for name, said in (("checkpoints/a/last.ckpt", "not known without"), ("RN5", "Unknown encoder")):
        with pytest.raises(ValueError, match=said):
            architecture_cost(name)
