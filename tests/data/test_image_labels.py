"""Classes of plain images: of the scenes world, and of folders named as a head's classes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from lightning_robust.data.image_labels import LabelledImages, class_labels, labelled_loader
from lightning_robust.data.image_sets import open_images
from lightning_robust.data.scenes.dataset import SceneImages
from lightning_robust.data.scenes.distributions import REFERENCE
from lightning_robust.data.scenes.vocabulary import CLASSES


@pytest.fixture
def folder(tmp_path):
    for k, name in enumerate(["dog", "cat", "cat", "dog"]):
        path = tmp_path / "pictures" / name / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), k, dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


def test_scenes_have_the_classes_of_the_world_in_the_order_of_the_head():
    images = open_images("scenes", pil_to_tensor, n=12)
    world = SceneImages(REFERENCE, 0, "test", 12, pil_to_tensor)
    want = [world[k][1] for k in range(12)]
    assert len(set(want)) > 3
    assert class_labels(images, CLASSES) == want
    assert class_labels(images, CLASSES[::-1]) == [len(CLASSES) - 1 - k for k in want]
    assert all(torch.equal(images[k], world[k][0]) for k in range(12))


def test_files_have_the_class_of_their_folder(folder):
    images = open_images(str(folder), pil_to_tensor)
    assert class_labels(images, ["bird", "cat", "dog"]) == [1, 1, 2, 2]
    pixels, labels = zip(*labelled_loader(images, [1, 1, 2, 2], batch_size=3), strict=True)
    assert torch.cat(pixels)[:, 0, 0, 0].tolist() == [1, 2, 0, 3]
    assert torch.cat(labels).tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("names", [["cat", "bird"], ["cat", "dog", "cat"], []])
def test_names_that_are_not_the_head_s_or_two_of_them_give_no_labels(names, folder):
    assert class_labels(open_images(str(folder), pil_to_tensor), names) is None


def test_an_unreadable_image_is_left_out_with_its_label(folder):
    (folder / "cat" / "2.png").write_bytes(b"no image")
    loader = labelled_loader(open_images(str(folder), pil_to_tensor), [1, 1, 2, 2])
    with pytest.warns(UserWarning, match="left out, 1 of"):
        [(pixels, labels)] = list(loader)
    assert pixels[:, 0, 0, 0].tolist() == [1, 0, 3]
    assert labels.tolist() == [1, 2, 2]


def test_as_many_labels_as_images(folder):
    with pytest.raises(ValueError, match="4 images need as many labels, not 3"):
        LabelledImages(open_images(str(folder), pil_to_tensor), [0, 0, 1])
