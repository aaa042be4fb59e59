"""Sets that share files, classes without images, and how sets are named."""

import pytest
from PIL import Image

from lightning_robust.data import ImageFolderDataModule


def write(folder, classes=("cat", "dog"), n=5):
    for name in classes:
        (folder / name).mkdir(parents=True)
        for k in range(n):
            Image.new("RGB", (4, 4)).save(folder / name / f"{k}.png")
    return folder


def test_a_shift_that_is_the_reference_is_refused(tmp_path):
    write(tmp_path / "photo")
    (tmp_path / "again").symlink_to(tmp_path / "photo", target_is_directory=True)
    for spec in ("photo", "again"):
        data = ImageFolderDataModule(str(tmp_path), "photo", {"other": spec})
        with pytest.raises(
            ValueError, match=r"4 of the 4 images of other/val are images of photo/\w+ .*too, the first"
        ):
            data.setup("fit")


def test_a_file_in_two_splits_is_refused_and_two_shifts_may_share(tmp_path):
    for split in ("train", "val", "test"):
        write(tmp_path / "set" / split)
    write(tmp_path / "one")
    (tmp_path / "two").symlink_to(tmp_path / "one", target_is_directory=True)
    ImageFolderDataModule(str(tmp_path), "set", ["one", "two"]).setup("fit")
    linked = tmp_path / "set" / "test" / "cat" / "0.png"
    linked.unlink()
    linked.symlink_to(tmp_path / "set" / "train" / "cat" / "3.png")
    with pytest.raises(ValueError, match=r"1 of the 10 images of set/test are images of set/train too, .*cat.3.png"):
        ImageFolderDataModule(str(tmp_path), "set").setup("fit")


def test_a_class_without_val_images_is_said(tmp_path):
    write(tmp_path / "set" / "train")
    write(tmp_path / "set" / "val", ["dog"])
    write(tmp_path / "set" / "test")
    with pytest.warns(UserWarning, match="The class 'cat' of .*set has no val images"):
        ImageFolderDataModule(reference=str(tmp_path / "set")).setup("fit")


def test_options_and_lists_in_root_and_names_with_spaces(tmp_path):
    write(tmp_path / "My Photos", ("2", "10"))
    write(tmp_path / "sketch", ("2", "10"))
    (tmp_path / "some list.csv").write_text("path,label\nsketch/2/0.png,2\nsketch/2/1.png,2\n")
    data = ImageFolderDataModule(
        str(tmp_path), "My Photos?order=integer", ["sketch?order=integer", "csv:some list.csv"]
    )
    assert data.val_loader_names == ["My_Photos", "sketch", "some_list"]
    assert data.class_names == ["2", "10"]
