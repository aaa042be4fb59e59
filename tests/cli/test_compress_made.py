"""Budgets of a network and the versions that are made of it, against counts by hand."""

import pytest
import torch
from torch import nn

from lightning_robust.cli.compress_made import Budgets, made
from lightning_robust.errors import UserError
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.cost import nonzero_count, parameter_count
from lightning_robust.models.network import Network
from lightning_robust.models.networks import load_network
from lightning_robust.models.rank_budget import total_cost

IMAGES = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def to_tensor(_image):
    return IMAGES[0]


def network(model, **facts):
    return Network(
        "mine", model, to_tensor, "", (), None, None, unit_norm=False, checkpoint_hash="", origin="", **facts
    )


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)
    ).eval()


@pytest.fixture(scope="module")
def found():
    budgets = Budgets.of(network(small()), [0.6, 0.3])
    return budgets, made(budgets, IMAGES.split(15), "cpu")


def test_sizes_of_the_network(found):
    budgets = found[0]
    assert budgets.total == 16 * 27 + 32 + 1024 * 10 + 10
    assert budgets.fixed == 32 + 10
    assert {name: (s.out, s.inputs, s.uses, s.shift) for name, s in budgets.shapes(centred=True).items()} == {
        "0.weight": (16, 27, 64, 16), "4.weight": (10, 1024, 1, 0),
    }  # fmt: skip
    assert budgets.shapes(centred=False)["0.weight"].shift == 0
    assert (budgets.versions, budgets.finetuned) == (7, 5)


def test_versions_keep_to_their_budget_and_are_less_than_a_rank_below_it(found):
    budgets, all_made = found
    assert all_made.calibration_images == 40
    assert [version.name for version in all_made.versions] == [
        "dense", "calibrated 0.6", "uniform 0.6", "magnitude 0.6", "calibrated 0.3", "uniform 0.3", "magnitude 0.3",
    ]  # fmt: skip
    assert all_made.versions[0].network is budgets.network
    for version in all_made.versions[1:]:
        if version.method == "magnitude":
            assert nonzero_count(version.network) == pytest.approx(version.keep * budgets.total, abs=20)
            assert parameter_count(version.network) == budgets.total
            continue
        size = parameter_count(version.network)
        assert size <= version.keep * budgets.total
        shapes = budgets.shapes(centred=version.method == "calibrated")
        assert size == total_cost(shapes, version.ranks, fixed=budgets.fixed)
        if version.method == "calibrated":
            assert size > version.keep * budgets.total - (1024 + 10)


def test_the_calibrated_one_is_nearer_on_the_calibration_images(found):
    budgets, all_made = found
    with torch.no_grad():
        wanted = budgets.network(IMAGES)
        errors = {one.name: float((one.network(IMAGES) - wanted).square().mean()) for one in all_made.versions}
    for share in ("0.6", "0.3"):
        assert errors[f"calibrated {share}"] < errors[f"uniform {share}"]


def test_the_text_tower_is_left_behind():
    loaded = load_network("scenes-clip", class_names=["star", "cat"], templates=["a photo of a {}."])
    budgets = Budgets.of(loaded, [0.5])
    names = set(budgets.network.state_dict())
    assert all(name.startswith(("encoder.visual.", "head.")) for name in names)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(budgets.network(images), loaded.model(images))


class Two(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :4], images


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Two()


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(UserError, match="no weight matrix that can be cut"):
        Budgets.of(network(nn.Sequential(nn.BatchNorm2d(3))), [0.5])
    with pytest.raises(UserError, match="Rank 1 everywhere still keeps"):
        Budgets.of(network(small()), [0.5, 0.01])
    with pytest.raises(UserError, match="does not give the representation by itself"):
        Budgets.of(network(ImageClassifier(Encoder(), torch.ones(2, 4))), [0.5])
    broken = small()
    broken[4].weight.data[0, 0] = torch.nan
    with pytest.raises(UserError, match=r"the matrix 4\.weight of mine has values that are not finite"):
        Budgets.of(network(broken), [0.5])
