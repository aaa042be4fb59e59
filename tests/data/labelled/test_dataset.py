"""`LabelledImages`: targets, border, augmentation by (seed, epoch, index)."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_robust.data.labelled import LabelledImages, class_folders
from lightning_robust.data.loaders import Place
from lightning_robust.data.reading import UnreadableImageError


@pytest.fixture
def source(tmp_path, tree):
    return class_folders(tree(tmp_path / "t", {"a": 2, "b": 1, "c": 3}))


def test_images_and_targets(source, pixels):
    images = LabelledImages(source, pixels)
    assert [(image[:2, 0, 0].tolist(), target) for image, target in images] == [
        ([0, 0], 0), ([0, 1], 0), ([1, 0], 1), ([2, 0], 2), ([2, 1], 2), ([2, 2], 2),
    ]  # fmt: skip
    assert images[-1][1] == 2
    with pytest.raises(IndexError, match="image 6 of a set of 6"):
        images[6]


def test_a_label_map_renames_and_leaves_out(source, pixels):
    images = LabelledImages(source, pixels, label_map=[7, -1, 3])
    assert images.targets.tolist() == [7, 7, 3, 3, 3]
    assert [image[0, 0, 0].item() for image, _ in images] == [0, 0, 2, 2, 2]
    assert images.left_out == 1
    assert LabelledImages(source, pixels).left_out == 0


def test_the_border_is_cut_off(tmp_path, pixels):
    (tmp_path / "t" / "a").mkdir(parents=True)
    grid = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    Image.fromarray(grid).save(tmp_path / "t" / "a" / "grid.png")
    Image.new("RGB", (4, 9)).save(tmp_path / "t" / "a" / "thin.png")
    images = LabelledImages(class_folders(tmp_path / "t"), pixels, border=2)
    assert torch.equal(images[0][0], torch.from_numpy(grid[2:-2, 2:-2]).permute(2, 0, 1))
    with pytest.raises(UnreadableImageError, match="image 1 of t: 4 × 9 pixels have nothing inside a border of 2"):
        images[1]


def test_what_is_refused(source, pixels):
    with pytest.raises(ValueError, match="3 classes need as many targets"):
        LabelledImages(source, pixels, label_map=[0, 1])
    with pytest.raises(ValueError, match=r"No image of .* has a class with a target"):
        LabelledImages(source, pixels, label_map=[-1, -1, -1])
    with pytest.raises(ValueError, match="border must be 0 or more pixels, got -1"):
        LabelledImages(source, pixels, border=-1)


def test_the_generator_is_a_function_of_seed_epoch_and_index_alone(source, pixels):
    def augment(image, rng):
        return torch.tensor(rng.random())

    def draws(seed, epoch):
        images = LabelledImages(source, pixels, augment=augment, seed=seed)
        return [images[Place(i, epoch)][0].item() for i in range(6)]

    torch.manual_seed(1)
    random.seed(1)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    seen = {(seed, epoch): draws(seed, epoch) for seed in range(3) for epoch in range(3)}
    assert len({value for values in seen.values() for value in values}) == 9 * 6
    assert draws(2, 1) == seen[2, 1]
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
