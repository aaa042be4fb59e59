"""Random weights with batch-norm statistics of the images: against a forward in train mode, and what stays as it is."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from lightning_robust.models import calibrate_untrained
from lightning_robust.models.batch_norm import batch_norms
from lightning_robust.models.networks import load_network
from lightning_robust.models.untrained import calibrated

CLIP = "untrained:scenes-clip"


@pytest.fixture(scope="module")
def pictures():
    """Images that differ in brightness and pattern, so that a random network can tell them apart."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(60, 3, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, size=32, mode="bilinear") + torch.randn(60, 1, 1, 1, generator=generator)


def rankme(h):
    """By hand: singular values of H, without E[hhᵀ]."""
    share = torch.linalg.svdvals(h.double())
    share = share / share.sum()
    return float((-(share * share.clamp_min(1e-300).log()).sum()).exp())


def embedded(model, pictures):
    with torch.no_grad():
        return model(pictures)


def in_train_mode(model, pictures):
    """Statistics by torch itself: one forward in train mode, whose batch is the whole average."""
    model = copy.deepcopy(model)
    for layer in batch_norms(model).values():
        layer.train()
        layer.momentum = 1.0
    embedded(model, pictures)
    return model.eval()


def test_statistics_are_those_of_a_forward_in_train_mode(pictures):
    network = load_network(CLIP)
    expected = in_train_mode(network.model, pictures)
    assert calibrate_untrained(network.model, [pictures]) == 60
    state = network.model.state_dict()
    for name, value in expected.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5)
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(state[name], value)
    torch.testing.assert_close(embedded(network.model, pictures), embedded(expected, pictures), rtol=1e-3, atol=1e-4)


def test_images_are_told_apart_that_were_all_alike(pictures):
    network = load_network(CLIP, seed=1)
    before = rankme(embedded(network.model, pictures))
    calibrate_untrained(network.model, pictures.split(30))
    assert before < 1.5
    assert rankme(embedded(network.model, pictures)) > 5 * before


def test_a_network_says_how_it_was_calibrated_and_trained_ones_are_left_alone(pictures):
    network = load_network(CLIP, seed=2)
    changed = calibrated(network, pictures.split(25))
    assert changed.origin == "random weights, seed 2, batch norms calibrated on the 60 images"
    assert changed.model is network.model
    trained = load_network("scenes-clip")
    state = copy.deepcopy(trained.model.state_dict())
    assert calibrated(trained, unread()) is trained
    assert all(torch.equal(value, state[name]) for name, value in trained.model.state_dict().items())


def unread():
    raise AssertionError("images were read")
    yield


def test_a_transformer_stays_as_it_is_bitwise_and_its_images_are_not_read():
    network = load_network("timm:vit_tiny_patch16_224", untrained=True)
    state = copy.deepcopy(network.model.state_dict())
    assert calibrated(network, unread()).origin == "random weights, seed 0"
    assert all(torch.equal(value, state[name]) for name, value in network.model.state_dict().items())


class Mixed(nn.Module):
    """A batch norm that is reached, and those that have to stay as they are."""

    def __init__(self):
        super().__init__()
        self.norm, self.bare = nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False)
        self.frozen, self.drop, self.idle = FrozenBatchNorm2d(3), nn.Dropout(0.5), nn.BatchNorm1d(3)

    def forward(self, x):
        x = self.frozen(self.norm(self.drop(x))[:, :, None, None]).flatten(1)
        return self.bare(x) if self.training else x


def test_only_reached_batch_norms_change_and_modes_and_random_states_come_back():
    model = Mixed()
    model.drop.eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1)) + 5
    assert calibrate_untrained(model, x.split(8)) == 20
    torch.testing.assert_close(model.norm.running_mean, x.mean(0))
    torch.testing.assert_close(model.norm.running_var, x.var(0))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, state[name])}
    assert changed == {"norm.running_mean", "norm.running_var"}
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert states[2] == random.getstate()


def test_images_that_have_no_statistics_are_left_out():
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(2))
    broken = x.clone()
    broken[2, 1] = torch.nan
    model = nn.BatchNorm1d(3)
    assert calibrate_untrained(model, broken.split(4)) == 7  # not the third image, nor the last, a batch of its own
    kept = x[[0, 1, 3, 4, 5, 6, 7]]
    torch.testing.assert_close(model.running_mean, kept.mean(0))
    torch.testing.assert_close(model.running_var, kept.var(0))


def test_at_most_so_many_images_are_read():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    model = nn.BatchNorm1d(3)
    assert calibrate_untrained(model, x.split(8), max_images=20) == 24
    torch.testing.assert_close(model.running_mean, x[:24].mean(0))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no images of finite numbers"),
        ([torch.full((4, 3), torch.nan)], "no images of finite numbers"),
        (torch.ones(3, 3).split(1), "use larger batches"),
    ],
)
def test_what_cannot_be_calibrated_is_an_error_and_leaves_the_network(batches, message):
    model = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match=message):
        calibrate_untrained(model, batches)
    assert model.running_mean.tolist() == [0, 0, 0]
