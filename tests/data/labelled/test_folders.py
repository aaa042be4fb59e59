"""Class folders: order, what counts as an image, and what is refused."""

import shutil

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from lightning_robust.data.labelled import class_folders


def test_it_finds_what_torchvision_finds(tmp_path, tree):
    folder = tree(tmp_path / "t", {"dog": 2, "Cat": 3, "10": 1, "2": 2})
    (folder / "dog" / "more" / "deep").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(folder / "dog" / "more" / "deep" / "x.JPG", "JPEG")
    found, theirs = class_folders(folder), ImageFolder(str(folder))
    assert list(found.class_names) == theirs.classes
    assert sorted(zip(found.images.paths, found.labels.tolist(), strict=True)) == sorted(theirs.samples)
    assert found.name == "t"
    assert found.source.startswith("the folder t (9 images in 4 classes; ")


def test_numeric_folders_in_the_order_of_numbers(tmp_path, tree):
    folder = tree(tmp_path / "v2", {"0": 1, "10": 1, "2": 1, "999": 1, "1": 1})
    by_number = class_folders(folder, order="integer")
    assert by_number.class_names == ("0", "1", "2", "10", "999")
    assert by_number.labels.tolist() == [0, 1, 2, 3, 4]
    assert class_folders(folder).class_names == ("0", "1", "10", "2", "999")


def test_rubbish_is_passed_over_and_an_empty_class_stays(tmp_path, tree):
    folder = tree(tmp_path / "t", {"a": 2, "b": 1, ".git": 1, "__MACOSX": 1, "empty": 0})
    (folder / "a" / "._000.png").write_bytes(b"resource fork")
    (folder / "a" / "notes.txt").write_text("no image")
    (folder / "readme.md").write_text("no folder")
    assert class_folders(folder).counts() == {"a": 2, "b": 1, "empty": 0}


@pytest.mark.parametrize("name", ["@eaDir", "lost+found"])
def test_what_systems_leave_behind_is_no_class(tmp_path, tree, name):
    assert class_folders(tree(tmp_path / "t", {"a": 2, name: 1})).counts() == {"a": 2}


def test_other_endings_are_counted_and_a_folder_is_no_image(tmp_path, tree):
    folder = tree(tmp_path / "t", {"a": 2, "b": 1})
    for name in ("x.HEIC", "y.heic", "z.jfif", "notes.txt"):
        (folder / "a" / name).write_bytes(b"")
    (folder / "b" / "album.jpg").mkdir()
    with pytest.warns(UserWarning, match=r"endings do not count are left out: 2 .heic, 1 .jfif; endings that count"):
        assert class_folders(folder).counts() == {"a": 2, "b": 1}


def test_links_that_lead_back_are_followed_once(tmp_path, tree):
    folder = tree(tmp_path / "t", {"a": 2})
    (folder / "a" / "back").symlink_to(folder / "a", target_is_directory=True)
    (folder / "a" / "self").symlink_to(folder / "a" / "self")
    assert class_folders(folder).counts() == {"a": 2}


def test_a_folder_that_cannot_be_read(tmp_path, tree, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    folder = tree(tmp_path / "t", {"a": 1})
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(ValueError, match=r"The folder .*t cannot be read: Permission denied"):
        class_folders(folder)


def test_a_linked_folder_counts(tmp_path, tree):
    folder = tree(tmp_path / "t", {"a": 1})
    (folder / "b").symlink_to(tree(tmp_path / "elsewhere", {"x": 2}) / "x", target_is_directory=True)
    assert class_folders(folder).counts() == {"a": 1, "b": 2}


def test_the_digest_follows_names_and_not_the_place(tmp_path, tree):
    first = class_folders(tree(tmp_path / "one" / "t", {"a": 2, "b": 1})).source
    assert class_folders(shutil.copytree(tmp_path / "one" / "t", tmp_path / "two" / "t")).source == first
    (tmp_path / "two" / "t" / "a" / "000.png").rename(tmp_path / "two" / "t" / "b" / "000x.png")
    assert class_folders(tmp_path / "two" / "t").source != first


def test_what_is_refused(tmp_path, tree):
    with pytest.raises(ValueError, match=r"No folder .*nowhere"):
        class_folders(tmp_path / "nowhere")
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "flat" / "a.png")
    with pytest.raises(ValueError, match="has no folders in it; it has to hold one for each class"):
        class_folders(tmp_path / "flat")
    with pytest.raises(ValueError, match=r"No images in the 2 folders of .* \('a', 'b'\); endings that count: .jpg"):
        class_folders(tree(tmp_path / "empty", {"a": 0, "b": 0}))
    mixed = tree(tmp_path / "mixed", {"1": 1, "two": 1})
    with pytest.raises(ValueError, match="are to be ordered as numbers, but 'two' is none"):
        class_folders(mixed, order="integer")
    with pytest.raises(ValueError, match="order must be 'name' or 'integer', got 'size'"):
        class_folders(mixed, order="size")
    with pytest.raises(ValueError, match="two of its folders are the same number"):
        class_folders(tree(tmp_path / "twice", {"1": 1, "01": 1}), order="integer")


def test_labels_are_int64(tmp_path, tree):
    assert class_folders(tree(tmp_path / "t", {"a": 1})).labels.dtype == np.int64
