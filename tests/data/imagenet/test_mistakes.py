"""When a folder is taken for a set itself."""

import pytest

from lightning_robust.data.imagenet.mistakes import set_itself

ALL = ["train", "val", "v2", "r", "sketch", "objectnet", "a"]


@pytest.mark.parametrize(
    ("files", "folders", "said"),
    [
        (["._x.jpg", ".y.png"], ["raw"], None),
        (["x.jpg"], ["raw", "notes"], None),
        (["x.jpg", "y.JPEG"], ["raw"], "for images lie in it"),
        ([], ["x.jpg"], None),
        ([], ["2023"], None),
        ([], ["2023", "raw", "old"], None),
        ([], ["n01440764", "n01443537"], "for class folders lie in it"),
        (["README"], ["0", "1", ".cache", "__MACOSX"], "for class folders lie in it"),
        ([], ["alarm_clock", "banana"], "for class folders lie in it"),
        ([], [], None),
    ],
)
def test_most_of_what_lies_in_a_set_is_images_or_class_folders(tmp_path, files, folders, said):
    for name in files:
        (tmp_path / name).touch()
    for name in folders:
        (tmp_path / name).mkdir()
    found = set_itself(tmp_path, ALL)
    assert found is None if said is None else said in found


def test_a_folder_that_cannot_be_listed_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"none cannot be listed \(No such file or directory\): give a folder"):
        set_itself(tmp_path / "none", ALL)
