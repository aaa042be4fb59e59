"""Loaders: what cannot be read is left out of evaluation and replaced in training; order and resuming are exact."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import distributed

from lightning_robust.data.labelled import (
    LabelledImages,
    class_folders,
    evaluation_loader,
    training_loader,
)

COUNTS = {"a": 6, "b": 5, "c": 9}


@pytest.fixture
def folder(tmp_path, tree):
    return tree(tmp_path / "t", COUNTS)


def jitter(image, rng):
    """Stands for an augmentation: class, image and what the generator gave."""
    red, green, _ = image.getpixel((0, 0))
    return torch.tensor([red, green, rng.random()], dtype=torch.float64)[:, None, None]


def damage(folder, *names):
    for name in names:
        path = folder / name
        path.write_bytes(path.read_bytes()[: 20 if name.endswith("0.png") else 0])


def evaluate(folder, pixels, **options):
    loader = evaluation_loader(LabelledImages(class_folders(folder), pixels), **options)
    images, targets = (torch.cat(column) for column in zip(*loader, strict=True))
    return [(*image[:2, 0, 0].tolist(), target) for image, target in zip(images, targets.tolist(), strict=True)]


def train(folder, epoch=0, state=None, stop=None, **options):
    images = LabelledImages(class_folders(folder), lambda image: None, augment=jitter, seed=5)
    loader = training_loader(images, 4, seed=5, **options)
    loader.sampler.set_epoch(epoch)
    if state:
        loader.load_state_dict(state)
    batches = []
    for images_, targets in loader:
        batches.append((images_.flatten(1).tolist(), targets.tolist()))
        if stop and len(batches) == stop:
            break
    return batches, loader


EVERY = [(c, k, c) for c, n in enumerate(COUNTS.values()) for k in range(n)]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_once_in_order(folder, pixels, workers):
    assert evaluate(folder, pixels, batch_size=7, num_workers=workers) == EVERY


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_images_are_left_out_of_evaluation(folder, pixels, workers):
    damage(folder, "a/000.png", "c/003.png", "c/004.png")
    with pytest.warns(UserWarning, match="left out") as caught:
        found = evaluate(folder, pixels, batch_size=4, num_workers=workers, max_unreadable=3)
    assert found == [row for row in EVERY if row not in ((0, 0, 0), (2, 3, 2), (2, 4, 2))]
    assert len(caught) == 3
    assert "3 of at most 3" in str(caught[2].message)
    assert "004.png: not an image" in str(caught[2].message)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match=r"More than 2 images .* the first of them .*a/000"),
    ):
        evaluate(folder, pixels, batch_size=4, num_workers=workers, max_unreadable=2)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_images_and_none_is_seen_twice(folder, pixels, world, monkeypatch):
    damage(folder, "b/001.png")
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: world)
    seen = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for rank in range(world):
            monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
            seen.append(evaluate(folder, pixels, batch_size=3))
    assert sorted(row for rows in seen for row in rows) == [row for row in EVERY if row != (1, 1, 1)]
    assert len(caught) == 1, "one process alone meets the damaged image"


def test_training_batches_keep_their_size_and_a_damaged_image_is_replaced_by_its_class(folder):
    whole = [train(folder, epoch)[0] for epoch in range(3)]
    damage(folder, "b/000.png", "c/001.png")
    with pytest.warns(UserWarning, match="replaced by another of its class"):
        found = [train(folder, epoch)[0] for epoch in range(3)]
    changed = 0
    for before, after in zip(whole, found, strict=True):
        for (images, targets), (others, same) in zip(before, after, strict=True):
            assert targets == same, "the replacement is of the same class"
            for image, other in zip(images, others, strict=True):
                assert other[:2] not in ([1, 0], [2, 1])
                if image[:2] in ([1, 0], [2, 1]):
                    changed += 1
                    assert other[0] == image[0]
                else:
                    assert image == other
    assert changed == 6


def test_workers_resuming_and_repetition_give_the_same_batches(folder):
    damage(folder, "b/000.png", "c/001.png", "c/002.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, loader = train(folder, epoch=4)
        assert len(whole) == 5
        assert len(loader.unreadable) == 3
        for workers in (0, 2):
            assert train(folder, epoch=4, num_workers=workers)[0] == whole
            first, stopped = train(folder, epoch=4, stop=2, num_workers=workers)
            rest, _ = train(folder, epoch=4, state=stopped.state_dict(), num_workers=workers)
            assert first + rest == whole
        assert train(folder, epoch=5)[0] != whole


@pytest.mark.parametrize("workers", [0, 2])
def test_the_limit_counts_different_images_over_epochs_and_workers(folder, workers):
    damage(folder, "a/000.png", "c/001.png", "c/002.png")
    images = LabelledImages(class_folders(folder), lambda image: None, augment=jitter)
    loader = training_loader(images, 5, seed=0, num_workers=workers, max_unreadable=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epoch in range(3):
            loader.sampler.set_epoch(epoch)
            assert len(list(loader)) == 4
    told = [one for one in caught if issubclass(one.category, UserWarning)]  # Python has something to say of fork
    assert len(told) == len(loader.unreadable) == 3, "once for each image, not for each epoch"
    loader = training_loader(images, 5, seed=0, num_workers=workers, max_unreadable=2)
    with (
        pytest.warns(UserWarning, match="replaced"),
        pytest.raises(ValueError, match="More than 2 training images cannot be read, the"),
    ):
        list(loader)


def test_a_class_without_a_readable_image(folder):
    damage(folder, *(f"b/{k:03}.png" for k in range(5)))
    with (
        pytest.warns(UserWarning, match="replaced"),
        pytest.raises(ValueError, match=r"No other training image of the class .*b/00"),
    ):
        train(folder)


def test_images_of_different_sizes_are_an_error_with_a_cure(folder, pixels, tree):
    tree(folder / "more", {"x": 1}, size=(5, 5))
    with pytest.raises(ValueError, match=r"gives images of different sizes, .* it has to resize and crop"):
        evaluate(folder, pixels, batch_size=30)
    loader = training_loader(LabelledImages(class_folders(folder), pixels), 21, seed=0)
    with pytest.raises(ValueError, match="gives images of different sizes"):
        list(loader)


@pytest.mark.parametrize("name", ["batch_size", "num_workers", "max_unreadable"])
def test_bad_numbers(folder, pixels, name):
    options = {"batch_size": 4, name: -1}
    images = LabelledImages(class_folders(folder), pixels)
    with pytest.raises(ValueError, match="batch_size must be at least 1, num_workers and max_unreadable at least 0"):
        training_loader(images, seed=0, **options)
    with pytest.raises(ValueError, match="batch_size must be at least 1, num_workers and max_unreadable at least 0"):
        evaluation_loader(images, **options)


def test_too_few_images_for_a_batch(folder, pixels):
    with pytest.raises(ValueError, match="20 images do not fill a batch of 21"):
        training_loader(LabelledImages(class_folders(folder), pixels), 21, seed=0)


SCRIPT = """
import json, sys, torch
from torch import distributed
from torchvision.transforms.functional import pil_to_tensor
from lightning_robust.data.labelled import LabelledImages, class_folders, evaluation_loader
folder, rank, store = sys.argv[1], int(sys.argv[2]), sys.argv[3]
distributed.init_process_group("gloo", store=distributed.FileStore(store, 2), rank=rank, world_size=2)
loader = evaluation_loader(LabelledImages(class_folders(folder), pil_to_tensor), 3, num_workers=1)
right = torch.zeros(2, dtype=torch.int64)
for images, targets in loader:
    right += torch.tensor([(images[:, 1, 0, 0] % 3 == targets).sum(), len(targets)])
distributed.all_reduce(right)
print(json.dumps(right.tolist()))
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_real_processes_count_exactly_what_one_counts(folder, pixels, tmp_path):
    expected = [sum(k % 3 == t for _, k, t in EVERY), len(EVERY)]
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    runs = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, env=environment)
        for rank in range(2)
    ]
    assert [run.communicate(timeout=300)[0].decode().strip() for run in runs] == [str(expected)] * 2
