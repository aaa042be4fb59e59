"""The contact sheet: one row for each distribution, written whole or not at all."""

import numpy as np
import pytest
from PIL import Image

from lightning_robust.data.scenes.distributions import DISTRIBUTIONS
from lightning_robust.data.scenes.draws import draw_scenes
from lightning_robust.data.scenes.render import IMAGE_SIZE, render
from lightning_robust.data.scenes.sheet import contact_sheet, write_contact_sheet
from lightning_robust.data.scenes.vocabulary import CLASSES


def test_one_row_for_each_distribution(tmp_path):
    target = tmp_path / "sheet.png"
    write_contact_sheet(target)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["sheet.png"]
    with Image.open(target) as image:
        assert image.format == "PNG"
        sheet = np.array(image)
    cell = sheet.shape[0] // len(DISTRIBUTIONS)
    zoom = cell // IMAGE_SIZE
    margin = sheet.shape[1] - cell * len(CLASSES)
    assert margin > 0
    for row, distribution in enumerate(DISTRIBUTIONS.values()):
        band = sheet[row * cell : (row + 1) * cell]
        assert band[:, :margin].min() < 100, "its name stands before it"
        expected = render(draw_scenes(distribution, 0, "test", range(len(CLASSES))))[0].transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(band[::zoom, margin::zoom], np.concatenate(list(expected), axis=1))


def test_columns_and_seed():
    first, second = (np.array(contact_sheet(columns=2, seed=seed)) for seed in (0, 1))
    assert first.shape == second.shape
    assert (first != second).any()


def test_a_failed_writing_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "sheet.png"
    target.write_bytes(b"before")

    def half(self, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="No space left"):
        write_contact_sheet(target)
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["sheet.png"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_contact_sheet(tmp_path / "no" / "sheet.png")
