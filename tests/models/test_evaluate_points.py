"""Several models in one pass: a naive loop, one reading of each image, progress."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_robust.models.evaluate_points import evaluate_points


@pytest.fixture
def models():
    torch.manual_seed(0)
    return [nn.Linear(5, 3), nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))]


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(23, 5, generator=generator), torch.randint(0, 3, (23,), generator=generator))


def rule(model, batch):
    with torch.no_grad():
        outputs = model(batch[0])
    return {"largest": outputs.argmax(1), "smallest": outputs.argmin(1)}, batch[1]


class Once(DataLoader):
    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


@pytest.mark.parametrize("block", [1, 2, 50])
def test_other_architectures_share_a_pass(models, data, block):
    loader, ready, seen = Once(data, batch_size=4), [], []

    def point(k):
        def make():
            ready.append(k)
            return models[k]

        return make

    found = evaluate_points([point(0), point(1)], loader, rule, lambda b: b, block=block, seen=seen.append)
    images, targets = data.tensors
    for k, model in enumerate(models):
        assert torch.equal(found.predictions["largest"][k], rule(model, (images, targets))[0]["largest"])
        assert torch.equal(found.predictions["smallest"][k], rule(model, (images, targets))[0]["smallest"])
    assert torch.equal(found.targets, targets)
    assert loader.passes == 1
    assert sum(seen) == 23
    assert len(ready) == 2 * len(seen)  # once for a block and point


def test_no_batches_and_wrong_shapes_are_refused(models):
    with pytest.raises(ValueError, match="'sketch' has no batches"):
        evaluate_points([lambda: models[0]], [], rule, lambda b: b, name="sketch")
    batch = (torch.zeros(2, 5), torch.zeros(2))
    with pytest.raises(ValueError, match=r"not shapes \(2, 3\) and \(2,\)"):
        evaluate_points([lambda: models[0]], [batch], lambda m, b: ({"": m(b[0])}, b[1]), lambda b: b)
