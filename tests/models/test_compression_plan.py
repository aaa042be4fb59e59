"""Plans for shares of a network's parameters: sizes, exactness, and the rival's larger errors."""

import pytest
import torch
from torch import nn

from lightning_robust.models.compression_plan import plan_compression


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(), nn.Flatten(), nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, 10),
        ).eval()  # fmt: skip


def images(n=256):
    """Smooth images: neighbouring pixels are alike, as in pictures, so that inputs have a covariance."""
    return nn.functional.interpolate(drawn(n, 3, 2, 2), size=8, mode="bilinear")


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("calibrated", [True, False])
def test_every_share_is_kept_to_and_the_whole_is_the_network_itself(calibrated):
    model, x = network(), images()
    plans = plan_compression(model, x.split(100), [1.0, 0.75, 0.5, 0.25], calibrated=calibrated)
    for keep, plan in plans.items():
        smaller = plan.apply(model)
        assert 0.9 * keep * count(model) < count(smaller) <= keep * count(model)
        assert {name: None if pair is None else pair[0].shape[1] for name, pair in plan.factors.items()} == plan.ranks
    assert set(plans[1.0].ranks.values()) == {None}
    with torch.no_grad():
        assert torch.equal(plans[1.0].apply(model)(x), model(x))


def test_the_calibrated_plan_moves_the_output_less_on_other_images():
    model, x = network(), images(1024)
    with torch.no_grad():
        z = model(x[512:])
        for keep in (0.75, 0.5, 0.25):
            ours, rival = (
                plan_compression(model, x[:512].split(128), [keep], calibrated=calibrated)[keep].apply(model)(x[512:])
                for calibrated in (True, False)
            )
            assert (ours - z).square().mean() < 0.5 * (rival - z).square().mean()


def test_refusals():
    with pytest.raises(ValueError, match="Rank 1 everywhere still keeps"):
        plan_compression(network(), [images(8)], [0.01])
    with pytest.raises(ValueError, match="no images"):
        plan_compression(network(), [], [0.5])
