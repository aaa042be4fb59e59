"""Calibration images: evenly spaced over what may be used, whatever the batches, and no more read than needed."""

import torch
from torch.utils.data import DataLoader, Dataset

from lightning_robust.cli.compress_images import CalibrationImages
from lightning_robust.cli.evaluate_sets import OrderedLoader
from lightning_robust.data.image_sets import spread
from lightning_robust.data.reading import TolerantLoader, UnreadableImageError


class Batches:
    def __init__(self, total, size):
        self.given, self.unreadable = 0, ["x: it is empty"]
        self._batches = torch.arange(total).float().reshape(-1, 1).split(size)

    def __iter__(self):
        for batch in self._batches:
            self.given += 1
            yield batch, batch.long().flatten(), batch.long().flatten()


def chosen(total, size, most, seen=None):
    batches = Batches(total, size)
    images = CalibrationImages(OrderedLoader(batches, total, total), most, seen)
    found = torch.cat(list(images)).flatten().long().tolist()
    assert len(images) == len(found)
    return found, batches.given


def test_evenly_spaced_whatever_the_batches():
    for size in (1, 3, 7, 40):
        assert chosen(40, size, 9)[0] == spread(40, 9)
    assert chosen(5, 2, 9)[0] == [0, 1, 2, 3, 4]


def test_nothing_is_read_after_the_last_one():
    assert chosen(40, 10, 1)[1] == 1
    assert chosen(40, 10, 2) == ([0, 20], 3)


def test_progress_and_what_was_left_out():
    counts = []
    chosen(40, 8, 10, counts.append)
    assert counts == [2, 2, 2, 2, 2]
    assert CalibrationImages(OrderedLoader(Batches(4, 2), 4, 4), 4).unreadable == ("x: it is empty",)


class Counted(Dataset):
    def __init__(self, broken=()):
        self.asked, self.broken = [], broken

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.asked.append(index)
        if index in self.broken:
            raise UnreadableImageError(f"{index}: it is empty")
        return torch.full((1,), float(index)), index


def test_only_the_chosen_images_are_read_of_a_known_loader():
    for kind in (DataLoader, TolerantLoader):
        data = Counted()
        images = CalibrationImages(OrderedLoader(kind(data, batch_size=6), 40, 40), 9)
        assert torch.cat(list(images)).flatten().long().tolist() == spread(40, 9) == data.asked
        assert len(images) == 9


def test_an_image_that_cannot_be_read_is_left_out_and_told():
    loader = OrderedLoader(TolerantLoader(Counted(broken=(20,)), batch_size=3), 40, 40)
    images = CalibrationImages(loader, 4)
    assert torch.cat(list(images)).flatten().long().tolist() == [0, 10, 30]
    assert images.unreadable == ("20: it is empty",)
