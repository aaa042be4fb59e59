"""The one-pass evaluator against a naive loop, and what it gives back."""

import copy
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.models import ImageClassifier, evaluate_path, interpolate
from lightning_robust.models.class_mask import ClassMask
from lightning_robust.models.evaluate import move_batch

ALPHAS = [0.0, 0.25, 0.5, 1.0]


@pytest.fixture
def thetas(tiny):
    torch.manual_seed(0)
    model = ImageClassifier(tiny.model, torch.randn(3, 16))
    theta0 = copy.deepcopy(model.state_dict())
    theta1 = {k: v + 0.3 * torch.randn(v.shape) if v.is_floating_point() else v + 5 for k, v in theta0.items()}
    theta1 = {k: v.abs() if "running_var" in k else v for k, v in theta1.items()}
    return model, theta0, theta1


@pytest.fixture
def loaders():
    generator = torch.Generator().manual_seed(1)
    sets = {
        name: TensorDataset(
            torch.randn(n, 3, 32, 32, generator=generator), torch.randint(0, 3, (n,), generator=generator)
        )
        for name, n in {"reference": 23, "sketch": 9}.items()
    }
    return {name: DataLoader(data, batch_size=4) for name, data in sets.items()}


@pytest.mark.parametrize("block", [1, 2, 100])
def test_it_equals_the_naive_loop(thetas, loaders, block):
    model, theta0, theta1 = thetas
    result = evaluate_path(model, theta0, theta1, ALPHAS, loaders, block=block)
    assert list(result) == ["reference", "sketch"]
    naive = copy.deepcopy(model).eval()
    for name, loader in loaders.items():
        images, targets = (torch.cat(parts) for parts in zip(*loader, strict=True))
        for row, alpha in enumerate(ALPHAS):
            naive.load_state_dict(interpolate(theta0, theta1, alpha))
            with torch.no_grad():
                # batch by batch, as the loader gives them: sums are ordered alike
                expected = torch.cat([naive(part).argmax(dim=1) for part in images.split(4)])
            assert torch.equal(result[name].predictions[row], expected)
            assert torch.equal(result[name].correct[row], expected == targets)
            assert result[name].accuracy[row] == (expected == targets).double().mean()
        assert torch.equal(result[name].targets, targets)
    assert len({tuple(row.tolist()) for row in result["reference"].predictions}) > 1  # the path matters


class Counting(DataLoader):
    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


def test_images_are_read_once_and_everything_is_given_back(thetas, loaders):
    model, theta0, theta1 = thetas
    loader = Counting(loaders["reference"].dataset, batch_size=4)
    model.train()
    model.encoder.visual.eval()
    modes = [module.training for module in model.modules()]
    with torch.no_grad():
        model.head.weight.add_(1.0)  # the model's own weights are neither θ0 nor θ1
    own, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    evaluate_path(model, theta0, theta1, ALPHAS, {"reference": loader})
    assert loader.passes == 1
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())


def test_weights_and_modes_come_back_when_predict_raises(thetas, loaders):
    model, theta0, theta1 = thetas
    own = copy.deepcopy(model.state_dict())

    def fails(model, _batch):
        assert not model.training
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        evaluate_path(model, theta0, theta1, [0.5], loaders, predict=fails)
    assert model.training
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())


def test_the_models_own_state_may_be_theta1(thetas, loaders):
    model, theta0, theta1 = thetas
    expected = evaluate_path(model, theta0, theta1, ALPHAS, loaders)
    model.load_state_dict(theta1)
    live = evaluate_path(model, theta0, model.state_dict(), ALPHAS, loaders)
    assert torch.equal(expected["reference"].predictions, live["reference"].predictions)
    assert all(torch.equal(theta1[name], tensor) for name, tensor in model.state_dict().items())


def test_foreign_batches_go_through_the_predict_hook():
    model = nn.Linear(2, 2, bias=False)
    theta0, theta1 = {"weight": torch.eye(2)}, {"weight": torch.eye(2).flip(0)}
    batches = [{"x": torch.eye(2), "meta": {"label": torch.tensor([0, 1])}, "names": ["a", "b"]}]

    def predict(model, batch):
        return model(batch["x"]).argmax(dim=1), batch["meta"]["label"]

    result = evaluate_path(model, theta0, theta1, [0.0, 1.0], {"own": batches}, predict=predict)
    assert result["own"].correct.tolist() == [[True, True], [False, False]]
    with pytest.raises(ValueError, match=r"each \(n,\), not shapes \(2, 2\)"):
        evaluate_path(model, theta0, theta1, [0.0], {"own": batches}, predict=lambda m, b: (b["x"], b["meta"]["label"]))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"alphas": []}, "no points"),
        ({"alphas": [0.5, 1.5]}, r"not 1\.5"),
        ({"block": 0}, "at least 1, not 0"),
        ({"loaders": {"empty": []}}, "'empty' has no batches"),
        ({"theta1": {}}, "only in θ0"),
        ({"theta0": {"weight": torch.ones(1)}, "theta1": {"weight": torch.ones(1)}}, "the model"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(changes, match):
    theta = {"weight": torch.eye(2)}
    arguments = {"theta0": theta, "theta1": theta, "alphas": [0.5], "loaders": {}} | changes
    with pytest.raises(ValueError, match=match):
        evaluate_path(nn.Linear(2, 2, bias=False), **arguments)


class Sample(NamedTuple):
    x: torch.Tensor
    name: str


def test_nested_batches_move_whole():
    batch = {"a": [torch.ones(2), "text"], "b": (Sample(torch.zeros(1), "n"), 3)}
    moved = move_batch(batch, torch.device("meta"))
    assert moved["a"][0].device.type == moved["b"][0].x.device.type == "meta"
    assert (moved["a"][1], moved["b"][0].name, moved["b"][1]) == ("text", "n", 3)
    assert isinstance(moved["b"][0], Sample)


def test_batches_can_be_prepared_by_a_function(thetas, loaders):
    """Once each, however many points the path has."""
    model, theta0, theta1 = thetas
    seen = []

    def shifted(batch):
        seen.append(len(batch[0]))
        return batch[0], (batch[1] + 1) % 3

    plain = evaluate_path(model, theta0, theta1, ALPHAS, loaders)["sketch"]
    found = evaluate_path(model, theta0, theta1, ALPHAS, {"sketch": loaders["sketch"]}, to_device=shifted)["sketch"]
    assert seen == [4, 4, 1]
    assert torch.equal(found.targets, (plain.targets + 1) % 3)
    assert torch.equal(found.predictions, plain.predictions)


def test_masks_restrict_the_logits_of_their_loader(thetas, loaders):
    model, theta0, theta1 = thetas
    mask = ClassMask([(2, 0)])
    found = evaluate_path(model, theta0, theta1, ALPHAS, loaders, masks={"sketch": mask})
    plain = evaluate_path(model, theta0, theta1, ALPHAS, loaders)
    assert set(found["sketch"].predictions.flatten().tolist()) == {2}
    assert torch.equal(found["reference"].predictions, plain["reference"].predictions)
    two = ClassMask([(0,), (1,)])
    found = evaluate_path(model, theta0, theta1, [0.25], loaders, masks={"reference": two})["reference"]
    model.load_state_dict(interpolate(theta0, theta1, 0.25))
    model.eval()
    with torch.no_grad():
        expected = torch.cat([two(model(images)).argmax(1) for images, _ in loaders["reference"]])
    assert torch.equal(found.predictions[0], expected)
    with pytest.raises(ValueError, match="no loader 'art' for the mask"):
        evaluate_path(model, theta0, theta1, ALPHAS, loaders, masks={"art": mask})
    with pytest.raises(ValueError, match="leave masks= out where predict= is given"):
        evaluate_path(model, theta0, theta1, ALPHAS, loaders, masks={"sketch": mask}, predict=lambda m, b: (b[1], b[1]))
