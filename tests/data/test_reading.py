"""The loader that leaves out what cannot be read."""

import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from lightning_robust.data.reading import ImageFiles, TolerantLoader, UnreadableImageError, to_rgb


class Numbers(Dataset):
    """0 … n − 1, some of them unreadable."""

    def __init__(self, n, bad=()):
        self.n, self.bad = n, bad

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if index in self.bad:
            raise UnreadableImageError(f"number {index}: bad")
        return torch.tensor([index])


@pytest.mark.parametrize("workers", [0, 2])
def test_left_out_and_counted(workers):
    loader = TolerantLoader(Numbers(10, bad=(1, 4, 5, 6, 7)), 4, num_workers=workers)
    for _ in range(2):
        with pytest.warns(UserWarning, match="left out") as caught:
            batches = [batch.flatten().tolist() for batch in loader]
        assert batches == [[0, 2, 3], [8, 9]], "a batch of nothing is no batch"
        assert str(caught[1].message) == "An image is left out, 2 of at most 20: number 4: bad"
        assert loader.unreadable == [f"number {i}: bad" for i in (1, 4, 5, 6, 7)]


def test_the_limit():
    loader = TolerantLoader(Numbers(10, bad=(2, 3, 4)), 1, max_unreadable=2)
    seen = []
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="More than 2 images cannot be read, the first of them number 2: bad"),
    ):
        seen.extend(int(batch) for batch in loader)
    assert seen == [0, 1]


def test_other_errors_are_not_swallowed():
    class Broken(Numbers):
        def __getitem__(self, index):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        next(iter(TolerantLoader(Broken(2), 1)))


def test_no_random_state_is_touched():
    torch_before, before = torch.get_rng_state(), random.getstate()
    list(TolerantLoader(Numbers(4), 2))
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert random.getstate() == before


def test_images_of_different_sizes():
    class Growing(Numbers):
        def __getitem__(self, index):
            return torch.zeros(3, index + 1, 2), torch.zeros(1)

    with pytest.raises(ValueError, match=r"different sizes, \(3, 1, 2\) and \(3, 2, 2\); it has to resize and crop"):
        next(iter(TolerantLoader(Growing(4), 3)))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"num_workers": -1}, {"max_unreadable": -1}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        TolerantLoader(Numbers(3), **({"batch_size": 1} | wrong))


def test_every_mode_becomes_rgb(tmp_path):
    modes = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"]
    files = []
    for mode in modes:
        files.append(tmp_path / f"{mode.replace(';', '')}.{'tif' if mode == 'CMYK' else 'png'}")
        Image.new(mode, (3, 2)).save(files[-1])
    images = ImageFiles(files)
    assert {images.open(i).mode for i in range(len(images))} == {"RGB"}


def test_a_truncated_image_is_unreadable(tmp_path):
    file = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(UnreadableImageError, match=r"a.png: "):
        ImageFiles([file]).open(0)
    with pytest.raises(UnreadableImageError, match="no such file"):
        ImageFiles([tmp_path]).open(0)


@pytest.mark.parametrize("file", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_of_grey_are_scaled(tmp_path, file):
    values = np.array([[0, 257, 128 * 257 + 100, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / file)
    found = np.asarray(ImageFiles([tmp_path / file]).open(0))
    assert found.tolist() == [[[k] * 3 for k in (0, 1, 128, 255)]]
    assert np.array_equal(np.asarray(to_rgb(Image.fromarray(values))), found)


@pytest.mark.parametrize(("dtype", "kind"), [(np.int32, "32-bit"), (np.float32, "floating-point")])
def test_pixels_of_unknown_range_are_unreadable(tmp_path, dtype, kind):
    Image.fromarray(np.ones((2, 2), dtype)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableImageError, match=f"a.tif: its pixels are {kind} numbers of unknown range"):
        ImageFiles([tmp_path / "a.tif"]).open(0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_exif_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (5, 8, 3), dtype=np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(np.asarray(ImageFiles([tmp_path / "a.jpg"]).open(0)), expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # opening a JPEG file reads it for its resolution
def test_damaged_exif_leaves_the_image(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09nonsense")
    assert ImageFiles([tmp_path / "a.jpg"]).open(0).size == (4, 3)
