"""Every pair once, whatever the number of ranks, workers and files; the rest exactly, after a stop; damage replaced."""

import warnings
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, ToTensor

from lightning_robust.data import CaptionsDataModule, Place
from lightning_robust.data.captions import datamodule
from lightning_robust.data.captions.dataset import ReplacedPairs
from lightning_robust.data.captions.order import windowed_order
from lightning_robust.data.reading import UnreadableImageError

from .conftest import picture, pixels, write_csv, write_parquet, write_shards, write_tar

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")

SOURCES = {
    "csv": lambda folder: write_csv(folder, 26),
    "one shard": lambda folder: write_shards(folder, [26]),
    "shards": lambda folder: write_shards(folder, [3, 9, 1, 8, 5]),
    "parquet": lambda folder: write_parquet(folder, [11, 15]),
    "stream": lambda folder: write_parquet(folder, [11, 15]).replace("parquet:", "hub-stream:") + "?buffer=7",
}


def captions(folder, kind, **options):
    """The captions of each batch of an epoch."""
    source = SOURCES[kind](folder) if kind in SOURCES else kind
    module = CaptionsDataModule(source, transform=pixels, augment="none", batch_size=3, seed=4, n_train=26, **options)
    return module.train_dataloader()


def texts(loader, epoch=0, stop=None):
    loader.sampler.set_epoch(epoch)
    batches = []
    for images, said in loader:
        assert images.shape == (3, 3, 8, 10)
        for image, caption in zip(images, said, strict=True):
            assert abs(int(image[0, 4, 4]) - int(caption.removeprefix("pair "))) <= 3  # JPEG
        batches.append(tuple(said))
        if len(batches) == stop:
            break
    return batches


@pytest.mark.parametrize("kind", SOURCES)
def test_every_pair_once_in_batches_that_workers_do_not_change(kind, tmp_path, ranks):
    for world in (1, 2, 4):
        found = {}
        for workers in (0, 2) if world == 4 else (0, 3):
            found[workers] = []
            for rank in range(world):
                ranks(rank, world)
                found[workers].append(texts(captions(tmp_path / "set", kind, num_workers=workers)))
        plain, parallel = found.values()
        assert plain == parallel
        assert {len(batches) for batches in plain} == {26 // (3 * world)}  # whole global batches on every rank
        seen = Counter(caption for batches in plain for batch in batches for caption in batch)
        assert max(seen.values()) == 1
        assert len(seen) == 26 // (3 * world) * 3 * world
        assert set(seen) <= {f"pair {k}" for k in range(26)}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_global_batch_is_the_same_for_any_number_of_ranks(kind, tmp_path, ranks):
    ranks(0, 1)
    alone = [caption for batch in texts(captions(tmp_path / "set", kind)) for caption in batch]
    shares = []
    for rank in range(2):
        ranks(rank, 2)
        shares.append(texts(captions(tmp_path / "set", kind)))
    for k, (first, second) in enumerate(zip(*shares, strict=True)):
        assert {*first, *second} == set(alone[6 * k : 6 * k + 6])


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_epoch_goes_on_with_the_rest(kind, workers, tmp_path, ranks):
    ranks(1, 2)
    whole = texts(captions(tmp_path / "set", kind), epoch=3)
    loader = captions(tmp_path / "set", kind, num_workers=workers)
    assert texts(loader, epoch=3, stop=2) == whole[:2]
    resumed = captions(tmp_path / "set", kind, num_workers=workers)
    resumed.load_state_dict(loader.state_dict())
    assert texts(resumed, epoch=3) == whole[2:]
    following = texts(resumed, epoch=4)
    assert following == texts(captions(tmp_path / "set", kind), epoch=4)
    assert following != whole


def test_a_part_is_the_same_in_every_epoch_and_another_for_another_seed(tmp_path):
    def part(seed, epoch):
        source = write_shards(tmp_path / "set", [3, 9, 1, 8, 5])
        module = CaptionsDataModule(source, transform=pixels, augment="none", batch_size=1, n_train=7, seed=seed)
        loader = module.train_dataloader()
        loader.sampler.set_epoch(epoch)
        assert "7 of them by seed" in module.training_description
        return {said[0] for _, said in loader}

    assert len(part(0, 0)) == 7
    assert part(0, 0) == part(0, 1) != part(1, 0)


def test_joined_sources_are_all_there(tmp_path):
    first, second = write_csv(tmp_path / "a", 5), write_shards(tmp_path / "b", [2, 4])
    third = write_parquet(tmp_path / "c", [3])
    module = CaptionsDataModule([first, second, third], transform=pixels, augment="none", batch_size=14)
    _, said = next(iter(module.train_dataloader()))
    numbers = [*range(5), *range(6), *range(3)]
    assert sorted(said) == sorted(f"pair {k}" for k in numbers)
    assert "pairs.csv" in module.training_description
    assert "2 shards" in module.training_description


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_pairs_are_named_and_replaced_up_to_a_limit(workers, tmp_path):
    members = []
    for k in range(12):
        members += [(f"{k}.jpg", picture(k)[: 40 if k in (3, 7) else None]), (f"{k}.txt", b" " if k == 5 else b"fine")]
    write_tar(tmp_path / "s.tar", members)

    def run(limit):
        module = CaptionsDataModule(
            f"webdataset:{tmp_path}/s.tar", transform=pixels, batch_size=4, augment="none", max_unreadable=limit,
            num_workers=workers,
        )  # fmt: skip
        loader = module.train_dataloader()
        batches = list(loader)
        list(loader)  # what is known is not told again
        return batches, loader.unreadable

    with pytest.warns(UserWarning, match="replaced by another pair") as caught:
        batches, unreadable = run(3)
    assert [len(said) for _, said in batches] == [4, 4, 4]
    assert {caption for _, said in batches for caption in said} == {"fine"}
    assert len(caught) == len(unreadable) == 3
    named = " ".join(unreadable)
    assert all(f"s.tar, member {k}.jpg at byte" in named for k in (3, 5, 7))
    assert "there is no caption" in named
    with (
        pytest.raises(ValueError, match="More than 2 training images cannot be read"),
        warnings.catch_warnings(action="ignore"),
    ):
        run(2)


def test_shards_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    """Else each batch of a large set would be gathered from every shard."""
    monkeypatch.setattr(datamodule, "windowed_order", partial(windowed_order, window=4))
    source = write_shards(tmp_path / "set", [4] * 6)
    module = CaptionsDataModule(source, transform=pixels, augment="none", batch_size=3, seed=4)
    orders = []
    for epoch in range(2):
        loader = module.train_dataloader()
        said = [int(caption[5:]) for batch in texts(loader, epoch) for caption in batch]
        assert sorted(said) == list(range(24))
        shards = [{k // 4 for k in said[first : first + 4]} for first in range(0, 24, 4)]
        assert all(len(shard) == 1 for shard in shards)
        orders.append(said)
    assert orders[0] != orders[1]


def test_what_stands_in_for_a_damaged_pair_is_drawn_anew_for_each_seed_epoch_and_pair(tmp_path):
    source = write_shards(tmp_path / "set", [200])
    module = CaptionsDataModule(source, transform=pixels, augment="none", batch_size=3)
    pairs = module.train_dataloader().dataset.dataset
    whole, damaged = pairs.pairs.open, {10, 20}

    def opened(index):
        if index in damaged:
            raise UnreadableImageError(f"pair {index}")
        return whole(index)

    pairs.pairs.open = opened

    def drawn(seed):
        pairs.seed = seed
        loader = ReplacedPairs(pairs, 9)
        return [loader[Place(item, epoch)][0][1] for epoch in range(3) for item in sorted(damaged)]

    first = drawn(0)
    assert first == drawn(0)
    everything = [*first, *drawn(1)]
    assert len(set(everything)) >= 10  # of 12: two of them are the same by chance in a third of all seeds


def test_one_of_several_captions_is_drawn_by_epoch(tmp_path):
    lines = "\n".join(f"line {k}" for k in range(5)).encode()
    write_tar(tmp_path / "s.tar", [pair for k in range(60) for pair in ((f"{k}.jpg", picture(k)), (f"{k}.txt", lines))])
    module = CaptionsDataModule(f"webdataset:{tmp_path}/s.tar", transform=pixels, augment="none", batch_size=60)
    loader, drawn = module.train_dataloader(), []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        drawn.append(next(iter(loader))[1])
    assert drawn[0] == drawn[2] != drawn[1]
    counts = Counter([*drawn[0], *drawn[1]])
    assert set(counts) == {f"line {k}" for k in range(5)}
    assert all(9 <= count <= 40 for count in counts.values())  # of 120, 24 each: 3 standard deviations are 13


def test_augmentation_is_a_function_of_seed_epoch_and_item(tmp_path):
    for k in range(8):
        noise = np.random.default_rng(k).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{k}.png")
    (tmp_path / "pairs.csv").write_text("\n".join(["filepath\ttitle", *(f"{k}.png\t{k}" for k in range(8))]))
    source = f"csv:{tmp_path}/pairs.csv"

    def images(epoch, seed=0, **options):
        module = CaptionsDataModule(
            source,
            transform=Compose([CenterCrop(20), ToTensor()]),
            batch_size=8,
            seed=seed,
            scale=(0.3, 0.7),
            **options,
        )
        loader = module.train_dataloader()
        loader.sampler.set_epoch(epoch)
        found, said = next(iter(loader))
        return found[torch.tensor([said.index(str(k)) for k in range(8)])]  # in their own order

    state = torch.get_rng_state()
    first = images(0)
    assert torch.equal(first, images(0, num_workers=2))
    for other in (images(1), images(0, seed=1), images(0, augment="none")):
        assert all(not torch.equal(one, two) for one, two in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
