"""Where sets are found below one folder."""

import imagenet_trees
import pytest
from imagenet_trees import WNIDS, fill

from lightning_robust.data.imagenet.layout import class_level, locate, locations


def one(root, name, *classes):
    return fill(root / name, dict.fromkeys(classes, 0))


def test_the_real_layouts(whole):
    found = locations(whole)
    assert {name: where.removeprefix(f"{whole}/") for name, where in found.items()} == {
        "train": "train", "val": "val", "v2": "imagenetv2-matched-frequency-format-val", "r": "imagenet-r",
        "sketch": "sketch", "objectnet": "objectnet-1.0/images", "a": "imagenet-a",
    }  # fmt: skip
    assert locations(whole, v2="top-images")["v2"] is None


@pytest.mark.parametrize(
    ("name", "folder", "inside"),
    [
        ("train", "imagenet/train", WNIDS[0]),
        ("val", "ILSVRC/Data/CLS-LOC/val", WNIDS[0]),
        ("val", "imagenet/ILSVRC/Data/CLS-LOC/val", WNIDS[0]),
        ("val", "imagenet-1k/val", WNIDS[0]),
        ("sketch", "imagenet-sketch/sketch", WNIDS[0]),
        ("sketch", "imagenet-sketch", WNIDS[0]),
        ("sketch", "imagenet/sketch", WNIDS[0]),
        ("r", "imagenet-r/imagenet-r", WNIDS[1]),
        ("a", "shifts/imagenet-a", WNIDS[6]),
        ("v2", "imagenet-v2/imagenetv2-matched-frequency-format-val", "999"),
        ("v2", "imagenetv2-matched-frequency/imagenetv2-matched-frequency-format-val", "0"),
        ("objectnet", "objectnet-1.0/images", "squeegee"),
        ("objectnet", "objectnet/objectnet-1.0/images", "alarm_clock"),
        ("objectnet", "objectnet-1.0-beta/images", "alarm_clock"),
    ],
)
def test_usual_nestings(tmp_path, name, folder, inside):
    one(tmp_path, folder, inside)
    assert locate(tmp_path, name) == str(tmp_path / folder)
    assert [where for other, where in locations(tmp_path).items() if other != name] == [None] * 6


def test_variants_of_v2_are_kept_apart(tmp_path):
    for variant in ("matched-frequency", "threshold0.7", "top-images"):
        imagenet_trees.fill(tmp_path / f"imagenetv2-{variant}-format-val", {"0": 0})
    for variant in ("matched-frequency", "threshold0.7", "top-images"):
        assert locate(tmp_path, "v2", variant) == str(tmp_path / f"imagenetv2-{variant}-format-val")


def test_a_folder_with_classes_goes_before_one_without(tmp_path):
    (tmp_path / "val").mkdir()
    assert locate(tmp_path, "val") == str(tmp_path / "val"), "so that it can be said what is wrong with it"
    one(tmp_path, "imagenet/val", WNIDS[0])
    assert locate(tmp_path, "val") == str(tmp_path / "imagenet" / "val")


def test_the_level_of_the_classes(tmp_path):
    one(tmp_path, "a/b/images", WNIDS[0])
    (tmp_path / "a" / "b" / "docs").mkdir()
    (tmp_path / "a" / ".git").mkdir()
    assert class_level(tmp_path / "a", "val") == tmp_path / "a" / "b" / "images"
    one(tmp_path, "x/y", "cat", "dog")
    assert class_level(tmp_path / "x", "val") is None


def test_places_that_are_given(tmp_path, whole):
    found = locations(whole, {"r": str(tmp_path), "a": "sketch", "val": "hub:ILSVRC/imagenet-1k:validation"})
    assert found["r"] == str(tmp_path)
    assert found["a"] == str(whole / "sketch"), "relative to the root"
    assert found["val"] == "hub:ILSVRC/imagenet-1k:validation"
    assert locations(None, {"val": "hub:x/y"})["train"] is None


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"No folder .*none; it has to hold train, val"):
        locations(tmp_path / "none")
    with pytest.raises(ValueError, match="a place is given for 'imagenet-r', which is no set; they are train, val, v2"):
        locations(tmp_path, {"imagenet-r": "x"})
    with pytest.raises(ValueError, match="say where ImageNet is"):
        locations(None)
