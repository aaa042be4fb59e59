"""Small trees of images that can be told apart by their colour."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


def to_pixels(image):
    """A transform: a PIL image to uint8 `(3, h, w)`."""
    assert image.mode == "RGB"
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def write_tree(folder, counts, size=(12, 10)):
    """`counts` images in a folder for each class; image k of class c is of colour (c, k, 0)."""
    folder = Path(folder)
    for c, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", size, (c, k, 0)).save(folder / name / f"{k:03}.png")
    return folder


@pytest.fixture
def pixels():
    return to_pixels


@pytest.fixture
def tree():
    return write_tree
