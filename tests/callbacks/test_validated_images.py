"""Images behind each validation loader, whatever its sampler, and which loader an accuracy is of."""

import math

import pytest
import torch
from callback_cases import REFERENCE, draw
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
)

from lightning_robust.callbacks.validated_images import images_of, loader_index
from lightning_robust.data.loaders import UnrepeatedSampler


class Endless(IterableDataset):
    def __iter__(self):
        return iter([(x, y) for x, y in zip(*draw(REFERENCE, 20), strict=True)])


SAMPLES = TensorDataset(torch.arange(30))


@pytest.mark.parametrize(
    ("made", "batches", "images"),
    [
        (DataLoader(SAMPLES, batch_size=4), math.inf, 30),
        (DataLoader(SAMPLES, batch_size=4), 3, 12),
        (DataLoader(SAMPLES, batch_size=4), 8, 30),
        (DataLoader(SAMPLES, batch_size=4, drop_last=True), 7, 28),
        (DataLoader(SAMPLES, batch_size=4, sampler=SubsetRandomSampler(range(9))), math.inf, 9),
        (DataLoader(SAMPLES, batch_size=4, sampler=UnrepeatedSampler(SAMPLES)), math.inf, 30),
        (DataLoader(SAMPLES, batch_sampler=BatchSampler(SubsetRandomSampler(range(9)), 2, False)), math.inf, 9),
        (DataLoader(SAMPLES, batch_size=4, sampler=torch.utils.data.DistributedSampler(SAMPLES, 4, 1)), math.inf, 30),
        (DataLoader(SAMPLES, batch_size=4, sampler=torch.utils.data.DistributedSampler(SAMPLES, 4, 1)), 1, 16),
        (
            DataLoader(SAMPLES, 4, sampler=DistributedSampler(SAMPLES, 4, 1), drop_last=True),
            math.inf,
            30,
        ),
        (
            DataLoader(SAMPLES, 3, sampler=DistributedSampler(SAMPLES, 4, 1), drop_last=True),
            math.inf,
            24,
        ),
        (DataLoader(Endless(), batch_size=4), math.inf, None),
        ([torch.zeros(2)], 1, None),
    ],
)
def test_images_of_a_loader(made, batches, images):
    assert images_of(made, batches) == images


@pytest.mark.parametrize(
    ("name", "tag", "index"),
    [
        ("sketch", "val/acc/dataloader_idx_2", 2),
        ("sketch", "anything", 1),
        ("other", "val/art/acc", 2),
        ("other", "val/acc", None),
    ],
)
def test_which_loader_an_accuracy_is_of(name, tag, index):
    assert loader_index(name, tag, ["reference", "sketch", "art"]) == index
