"""Batches made while samples are read, against torch's `default_collate`."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from lightning_robust.data import collating
from lightning_robust.data.collating import DifferentSizesError, Samples, collate


def images(n, dtype=torch.float32, shape=(3, 5, 4)):
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(shape, generator=generator) * 50).to(dtype) for _ in range(n)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.bool, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("shape", [(3, 5, 4), (7,), (), (3, 0, 2)])
def test_images_alone(dtype, shape):
    given = images(4, dtype, shape)
    expected = default_collate(given)
    for limit in (4, 9):
        found = collate(iter(given), limit)
        assert torch.equal(found, expected)
        assert (found.dtype, found.stride()) == (expected.dtype, expected.stride())
        assert found.untyped_storage().nbytes() == expected.untyped_storage().nbytes(), "no room is kept that is empty"
        assert found.data_ptr() % 64 == 0


def test_images_with_targets_places_and_names():
    given = [(image, k, torch.tensor(k + 1), f"{k}.png") for k, image in enumerate(images(3))]
    expected, found = default_collate(given), collate(given, 3)
    assert isinstance(found, tuple)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[2])
    assert found[1].dtype == torch.int64
    assert found[3] == expected[3] == ("0.png", "1.png", "2.png")
    (alone,) = collate([(image,) for image in images(3)], 3)
    assert torch.equal(alone, expected[0])


def test_images_in_another_layout_and_arrays():
    given = [image.permute(1, 2, 0) for image in images(3)]
    found, expected = collate(given, 3), default_collate(given)
    assert torch.equal(found, expected)
    assert found.stride() == expected.stride()
    assert torch.equal(collate([image.numpy() for image in given], 3), expected)


def test_numbers_become_what_torch_makes_of_them():
    for given in ([0.1, 2.5], [(0.1, 1.5), (2.5, 2.5)], [np.float64(0.1), np.float64(1)], [1, 2], [True, False]):
        found, expected = collate(given, 2), default_collate(given)
        for one, other in zip(
            *((found, expected) if isinstance(found, tuple) else ((found,), (expected,))), strict=True
        ):
            assert torch.equal(one, other)
            assert one.dtype == other.dtype


@pytest.mark.parametrize("worker", [None, object()])
def test_images_stay_where_they_are_whatever_the_default_device(monkeypatch, worker):
    given = images(3)
    monkeypatch.setattr(collating, "get_worker_info", lambda: worker)
    with torch.device("meta"):
        found = collate(given, 3)
    assert torch.equal(found, torch.stack(given))


def test_no_samples():
    assert collate([], 4) is None
    assert collate([], 0) is None


def test_batches_share_no_memory():
    given = images(2)
    one, other = collate(given, 2), collate(given, 2)
    one.zero_()
    assert torch.equal(other, torch.stack(given))
    assert given[0].any()


def test_images_that_do_not_go_together():
    with pytest.raises(DifferentSizesError, match=r"different sizes, \(2,\) and \(3,\); it has to resize and crop"):
        collate([torch.zeros(2), torch.zeros(3)], 2)
    with pytest.raises(DifferentSizesError, match=r"different types, torch.float32 and torch.uint8"):
        collate([torch.zeros(2), torch.zeros(2, dtype=torch.uint8)], 2)


class Counted(Dataset):
    """Images that note when they are read."""

    def __init__(self, n):
        self.given, self.read = images(n), []

    def __len__(self):
        return len(self.given)

    def __getitem__(self, index):
        self.read.append(index)
        return self.given[index], index

    def __getitems__(self, indices):
        return Samples(self, indices)


def test_samples_are_read_one_after_another():
    data = Counted(4)
    samples = Samples(data, [2, 0, 3])
    assert (len(samples), data.read) == (3, [])
    for k, (_, index) in enumerate(samples):
        assert (index, data.read) == ([2, 0, 3][k], [2, 0, 3][: k + 1])


def together(samples):
    return collate(samples, len(samples))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_what_a_plain_one_gives(workers):
    data = Counted(7)
    found = list(DataLoader(data, batch_size=3, num_workers=workers, collate_fn=together))
    expected = list(DataLoader(list(zip(data.given, range(7), strict=True)), batch_size=3))
    assert len(found) == len(expected) == 3
    for (pictures, targets), (same, others) in zip(found, expected, strict=True):
        assert torch.equal(pictures, same)
        assert torch.equal(targets, others)
        assert pictures.is_shared() == (workers > 0)
