"""Which images are a process's own, for every kind of loader, without processes: ranks are played one after another."""

import pytest
import torch
from callback_cases import REFERENCE, draw, loader
from hypothesis import given
from hypothesis import strategies as st
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
)

from lightning_robust.callbacks.shares import Share, kept_rows, share_of
from lightning_robust.callbacks.sources import whole_loader
from lightning_robust.errors import UserError


def numbered(n):
    return TensorDataset(torch.arange(n))


def seen(loaders, world, *, watched=True):
    """Images that count, over all ranks."""
    counted = []
    for one in loaders:
        share = share_of(one, world, watched=watched)
        assert share.spread
        for number, (batch,) in enumerate(one):
            mask = share.kept(number)
            counted += batch.tolist() if mask is None else kept_rows(batch, mask, "a").tolist()
    return sorted(counted)


@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_every_image_counts_once_whatever_the_sizes(n, world, batch, shuffle, epoch):
    data, loaders = numbered(n), []
    for rank in range(world):
        sampler = DistributedSampler(data, world, rank, shuffle=shuffle)
        sampler.set_epoch(epoch)
        loaders.append(DataLoader(data, batch_size=batch, sampler=sampler))
    assert seen(loaders, world) == list(range(n))


@pytest.mark.parametrize("form", ["wrapper", "unrepeated", "batch sampler"])
def test_other_samplers_that_are_known(form):
    data, loaders = numbered(13), []
    for rank in range(3):
        if form == "wrapper":
            inner = SubsetRandomSampler([1, 3, 5, 7, 9], generator=torch.Generator().manual_seed(1))
            sampler = DistributedSamplerWrapper(inner, num_replicas=3, rank=rank, shuffle=False)
        else:
            cls = UnrepeatedDistributedSampler if form == "unrepeated" else DistributedSampler
            sampler = cls(data, num_replicas=3, rank=rank, shuffle=False)
        if form == "batch sampler":
            loaders.append(DataLoader(data, batch_sampler=BatchSampler(sampler, 4, drop_last=False)))
        else:
            loaders.append(DataLoader(data, batch_size=4, sampler=sampler))
        assert share_of(loaders[-1], 3, watched=True).known
    assert seen(loaders, 3) == ([1, 3, 5, 7, 9] if form == "wrapper" else list(range(13)))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(4))


class OwnBatches(BatchSampler):
    pass


class Reordered(DistributedSampler):
    def __iter__(self):
        return reversed(list(super().__iter__()))


DATA = numbered(13)
LOADERS = {
    "plain": (lambda: DataLoader(DATA, batch_size=4), Share(), Share()),
    "drawn": (lambda: DataLoader(DATA, batch_size=4, shuffle=True), Share(), Share()),
    "a stream": (lambda: DataLoader(Stream()), Share(True, False), Share()),
    "a list": (lambda: [DATA[0]], Share(True, False), Share()),
    "batches of its own": (
        lambda: DataLoader(DATA, batch_sampler=OwnBatches(range(13), 4, False)), Share(True, False), Share(),
    ),
    "one replica": (lambda: DataLoader(DATA, sampler=DistributedSampler(DATA, 1, 0)), Share(), Share()),
    "an order of its own": (
        lambda: DataLoader(DATA, sampler=Reordered(DATA, 4, 0)), Share(True, False), Share(True, False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_that_say_little(name):
    """Of a validation each process is taken to have its share, of a loader of one's own all images."""
    make, watched, own = LOADERS[name]
    assert share_of(make(), 4, watched=True) == watched
    assert share_of(make(), 4, watched=False) == own
    assert share_of(make(), 1, watched=True) == Share()


def test_tokens_of_a_repeated_image_are_left_out_with_it():
    rows = torch.arange(12).reshape(6, 2)
    assert kept_rows(rows, torch.tensor([True, False, True]), "a")[:, 0].tolist() == [0, 2, 8, 10]
    assert kept_rows(rows, None, "a") is rows
    with pytest.raises(
        UserError, match="layer 'a' gave 6 rows for 4 images, so those that Lightning's sampler repeats"
    ):
        kept_rows(rows, torch.tensor([True, False, True, True]), "a")


def test_one_process_reads_what_all_share():
    shared = DataLoader(DATA, batch_size=4, sampler=DistributedSampler(DATA, 3, 1))
    assert [image for (batch,) in whole_loader(shared) for image in batch.tolist()] == list(range(13))
    wrapped = DistributedSamplerWrapper(SubsetRandomSampler([4, 2]), num_replicas=2, rank=0)
    found = whole_loader(DataLoader(DATA, sampler=wrapped))
    assert sorted(image for (batch,) in found for image in batch.tolist()) == [2, 4]
    for plain in (loader(REFERENCE, 4), [draw(REFERENCE, 3)], DataLoader(DATA, sampler=DistributedSampler(DATA, 1, 0))):
        assert whole_loader(plain) is plain
