"""Budgets of a network and the versions that are made of it, against counts by hand."""

import copy

import pytest
import torch
from torch import nn

from lightning_robust.cli.compress_held import HELD_BYTES, Held
from lightning_robust.cli.compress_made import Budgets, made
from lightning_robust.errors import UserError
from lightning_robust.models.classifier import ImageClassifier
from lightning_robust.models.compression_plan import FixedCosts, matrix_shapes
from lightning_robust.models.cost import forward_flops, nonzero_count, parameter_count
from lightning_robust.models.network import Network
from lightning_robust.models.networks import load_network
from lightning_robust.models.rank_budget import total_cost

IMAGES = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOTAL = 16 * 27 + 32 + 1024 * 10 + 10


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
    assert parameter_count(budgets.network) == TOTAL
    assert budgets.fixed == FixedCosts(32 + 10)
    shapes = matrix_shapes(budgets.matrices, centred=True)
    assert {name: (s.out, s.inputs, s.uses, s.shift) for name, s in shapes.items()} == {
        "0.weight": (16, 27, 64, 16), "4.weight": (10, 1024, 1, 0),
    }  # fmt: skip
    assert matrix_shapes(budgets.matrices, centred=False)["0.weight"].shift == 0
    assert (budgets.versions, budgets.finetuned) == (9, 7)
    assert budgets.bytes(tuned=False) == pytest.approx(4 * TOTAL * (1 + 3 * 0.9 + 2), abs=1)
    assert budgets.bytes(tuned=True) == pytest.approx(4 * TOTAL * (2 + 6 * 0.9 + 2), abs=1)


def test_versions_keep_to_their_budget_and_are_less_than_a_rank_below_it(found):
    budgets, all_made = found
    assert all_made.calibration_images == 40
    assert [version.name for version in all_made.versions] == [
        "dense", "calibrated 0.6", "plain 0.6", "uniform 0.6", "magnitude 0.6", "calibrated 0.3", "plain 0.3",
        "uniform 0.3", "magnitude 0.3",
    ]  # fmt: skip
    assert all_made.versions[0].make() is budgets.network
    for version in all_made.versions[1:]:
        network = version.make()
        if version.method == "magnitude":
            assert nonzero_count(network) == pytest.approx(version.keep * TOTAL, abs=20)
            assert parameter_count(network) == TOTAL
            continue
        size = parameter_count(network)
        assert size <= version.keep * TOTAL
        shapes = matrix_shapes(budgets.matrices, centred=version.method == "calibrated")
        assert size == total_cost(shapes, version.ranks, fixed=budgets.fixed.parameters)
        if version.method != "uniform":
            assert size > version.keep * TOTAL - (1024 + 10)


def test_a_budget_of_multiplications():
    budgets = Budgets.of(network(small()), [0.6, 0.3], "flops")
    versions = made(budgets, IMAGES.split(15), "cpu").versions
    assert [version.method for version in versions] == ["dense", *2 * ("calibrated", "plain", "uniform")]
    assert (budgets.versions, budgets.finetuned) == (len(versions), len(versions))
    whole = forward_flops(versions[0].make(), IMAGES[:1])
    assert whole == 2 * (16 * 27 * 64 + 10240)
    for version in versions[1:]:
        flops = forward_flops(version.make(), IMAGES[:1])
        assert flops <= version.keep * whole
        if version.method != "uniform":  # at most one rank of the convolution below
            assert flops > version.keep * whole - 2 * 64 * (16 + 27)


def test_calibration_and_the_one_budget_are_nearer_on_the_calibration_images(found):
    budgets, all_made = found
    with torch.no_grad():
        wanted = budgets.network(IMAGES)
        errors = {one.name: float((one.make()(IMAGES) - wanted).square().mean()) for one in all_made.versions}
    for share in ("0.6", "0.3"):
        assert errors[f"calibrated {share}"] < errors[f"plain {share}"]
        assert errors[f"calibrated {share}"] < errors[f"uniform {share}"]


def test_what_is_not_held_is_made_anew_and_is_the_same(tmp_path):
    budgets = Budgets.of(network(small()), [0.5])
    everything = (Held(0, tmp_path), Held(HELD_BYTES + 1, tmp_path))
    (holding, making) = (made(budgets, IMAGES.split(15), "cpu", held).versions for held in everything)
    for one, other in zip(holding, making, strict=True):
        assert one.make() is one.make()
        assert (other.make() is other.make()) == (one.method == "dense")
        with torch.no_grad():
            assert torch.equal(one.make()(IMAGES), other.make()(IMAGES))
            other.make().get_parameter("1.weight").zero_() if one.method != "dense" else None
            assert torch.equal(one.make()(IMAGES), other.make()(IMAGES))  # nothing is shared with the next
    assert not list(tmp_path.iterdir())


def test_changed_weights_wait_in_a_file(tmp_path):
    model = small()
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed[4].weight.mul_(2)
        changed[1].running_mean.add_(1)
        wanted = changed(IMAGES)
    held = Held(HELD_BYTES + 1, tmp_path)
    first, second = (held.changed(one, lambda: copy.deepcopy(model)) for one in (changed, model))
    assert len(list(tmp_path.iterdir())) == 2
    with torch.no_grad():
        assert torch.equal(first()(IMAGES), wanted)
        assert torch.equal(second()(IMAGES), model(IMAGES))
    assert Held(0, tmp_path).changed(changed, lambda: model)() is changed


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
