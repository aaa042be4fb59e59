"""Which batches each process reads: all of one process's, in its order, none twice."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from lightning_robust.callbacks.parts import parts_of, unreadable_of
from lightning_robust.callbacks.together import Together
from lightning_robust.data.reading import TolerantLoader, UnreadableImageError


class Threads(Together):
    """Processes as threads."""

    def __init__(self, rank, world, barrier, board):
        super().__init__()
        self.rank, self.world, self.barrier, self.board = rank, world, barrier, board

    def each(self, find):
        self.board[self.rank] = find()
        self.barrier.wait(10)
        return list(self.board)


def parts(make, world):
    barrier, board = threading.Barrier(world), [None] * world

    def one(rank):
        return parts_of({"a": make(rank)}, Threads(rank, world, barrier, board))["a"]

    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(world) as pool:
        warnings.simplefilter("always")
        found = list(pool.map(one, range(world)))
    return found, [str(w.message) for w in caught]


def batches(loader):
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("world", [2, 3, 8])
@pytest.mark.parametrize("n", [1, 4, 5, 23, 64])
@pytest.mark.parametrize("drop", [False, True])
def test_stretches_follow_one_another(n, world, drop):
    whole = batches(DataLoader(range(n), batch_size=4, drop_last=drop))
    found, told = parts(lambda rank: DataLoader(range(n), batch_size=4, drop_last=drop), world)
    shares = [batches(part) for part in found]
    assert [batch for share in shares for batch in share] == whole
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [len(part) for part in found] == [len(share) for share in shares]
    assert told == []


def test_a_shuffled_order_is_drawn_once():
    found, _ = parts(lambda rank: DataLoader(range(30), batch_size=4, shuffle=True), 3)
    images = [image for part in found for batch in batches(part) for image in batch]
    assert sorted(images) == list(range(30))
    assert images != list(range(30))
    assert [batches(part) for part in found] == [batches(part) for part in found]  # every pass reads the same


def test_own_batches_and_workers():
    groups = [[5, 1], [0], [2, 3, 4]]
    found, _ = parts(lambda rank: DataLoader(range(6), batch_sampler=groups), 2)
    assert [batches(part) for part in found] == [groups[:1], groups[1:]]
    options = {"num_workers": 1, "persistent_workers": True, "multiprocessing_context": "fork"}
    found, _ = parts(lambda rank: DataLoader(range(9), batch_size=2, **options), 2)
    assert [batches(part) for part in found] == [[[0, 1], [2, 3]], [[4, 5], [6, 7], [8]]]


class Damaged:
    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index in (1, 7):
            raise UnreadableImageError(f"{index}.jpg: it is empty")
        return torch.tensor(index)


@pytest.mark.filterwarnings("ignore:An image is left out")
def test_what_cannot_be_read_is_left_out_of_each_share():
    found, _ = parts(lambda rank: TolerantLoader(Damaged(), 2), 2)
    assert [batches(part) for part in found] == [[[0], [2, 3]], [[4, 5], [6], [8, 9]]]
    assert [unreadable_of(part) for part in found] == [("1.jpg: it is empty",), ("7.jpg: it is empty",)]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(5))


class Own(DataLoader):
    def __iter__(self):
        return super().__iter__()


CANNOT = {
    "a stream": (lambda rank: DataLoader(Stream(), batch_size=2), 3),
    "a list": (lambda rank: [torch.tensor([1])], 1),
    "a loader that iterates in its own way": (lambda rank: Own(range(5), batch_size=2), 3),
    "samples without batches": (lambda rank: DataLoader(range(5), batch_size=None, collate_fn=torch.tensor), 5),
    "other images on each": (lambda rank: DataLoader(range(5 + rank), batch_size=2), 3),
}


@pytest.mark.parametrize("name", CANNOT)
def test_what_cannot_be_shared_is_the_first_process_s(name):
    make, count = CANNOT[name]
    (first, *others), told = parts(make, 3)
    assert len(batches(first)) == count
    assert others == [[], []]
    assert len(told) >= 1
    assert told[0].startswith("the first process alone reads 'a' for the Wise-FT path")


def test_one_process_keeps_its_loader():
    loader = DataLoader(range(5), batch_size=2, sampler=DistributedSampler(range(5), 1, 0))
    assert parts_of({"a": loader}, Together())["a"] is loader
    assert Together().each(lambda: 3) == [3]
