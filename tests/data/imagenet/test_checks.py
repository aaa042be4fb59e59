"""What is said of copies that are whole, partial, mixed up or damaged."""

import shutil

import imagenet_trees
import pytest
from imagenet_trees import OBJECTS, WNIDS, A, R, fill, picture, tar

from lightning_robust.data.imagenet import checks
from lightning_robust.data.imagenet.checks import check_set


def said(check):
    return "; ".join(check.problems)


def test_a_whole_copy_of_imagenet_v2_has_no_problem(tmp_path):
    folder = imagenet_trees.v2(tmp_path, per_class=10)
    check = check_set("v2", str(folder), n_open=7)
    assert (check.images, check.classes, check.opened) == (10_000, 1000, 7)
    assert not check.problems
    assert not check.notes
    shutil.rmtree(folder / "10")
    next((folder / "2").iterdir()).unlink()
    check = check_set("v2", str(folder), n_open=0)
    assert check.problems == (
        "1 of 1000 classes are missing: '10'",
        "1 class has not 10 images: '2' (9 in the first)",
        "9,989 images are here, 10,000 are published",
    )


def test_a_whole_copy_of_objectnet_in_either_release(tmp_path, monkeypatch):
    folder = imagenet_trees.objectnet(tmp_path)
    check = check_set("objectnet", str(folder), n_open=20)
    assert (check.images, check.classes) == (113, 113)
    assert check.problems == ("113 images are here, 18,574 or 18,514 are published",)
    assert check.notes == ("200 of its objects are no ImageNet class and are left out",)
    covered = [name for name in OBJECTS if OBJECTS[name][1]]
    for k in range(18_514 - 113):
        (folder / covered[k % 7] / f"{k}.png").touch()
    assert not check_set("objectnet", str(folder), n_open=0).problems
    for k in range(60):
        (folder / covered[0] / f"more{k}.png").touch()
    assert not check_set("objectnet", str(folder), n_open=0).problems
    (folder / covered[0] / "one.png").touch()
    assert said(check_set("objectnet", str(folder), n_open=0)).startswith("18,575 images are here")


def test_a_copy_of_objectnet_that_was_cropped_before_is_noticed(tmp_path):
    fill(tmp_path / "images", {"alarm_clock": 409, "banana": 954}, suffix=".png")
    check = check_set("objectnet", str(tmp_path / "images"))
    assert check.notes[0].startswith("2 of 2 images opened have no red border")
    assert "111 of 113 classes are missing: 'backpack', 'band_aid', 'basket', 'beer_bottle' and 107 more" in said(check)


def test_extra_missing_and_empty_classes_are_named(tmp_path):
    folder = imagenet_trees.r(tmp_path)
    shutil.rmtree(folder / WNIDS[R[0]])
    (folder / WNIDS[0]).mkdir()  # ImageNet's, and not ImageNet-R's
    next((folder / WNIDS[R[5]]).iterdir()).unlink()
    check = check_set("r", str(folder), n_open=1)
    assert check.problems == (
        "1 folder is no class of it: 'n01440764'",
        "1 of 200 classes are missing: 'n01443537'",
        f"1 class has no images: '{WNIDS[R[5]]}'",
        "198 images are here, 30,000 are published",
    )
    assert (check.images, check.classes) == (198, 198)


def test_another_sets_folder_is_noticed(tmp_path):
    check = check_set("a", str(imagenet_trees.r(tmp_path)))
    assert "114 folders are no class of it" in said(check)
    assert "114 of 200 classes are missing" in said(check)


def test_missing_classes_have_their_wordnet_ids_where_no_folder_is_a_class(tmp_path):
    fill(tmp_path / "train", {WNIDS[0]: 0})
    (tmp_path / "imagenet-r").symlink_to("train")
    assert f"200 of 200 classes are missing: '{WNIDS[R[0]]}', '{WNIDS[R[1]]}'" in said(
        check_set("r", str(tmp_path / "imagenet-r"), n_open=0)
    )


def test_damaged_images_and_left_archives(tmp_path):
    folder = imagenet_trees.a(tmp_path)
    path = folder / WNIDS[A[3]] / f"{WNIDS[A[3]]}_0.jpg"
    path.write_bytes(path.read_bytes()[:-30])
    (folder / WNIDS[A[0]] / "rest.tar").touch()
    check = check_set("a", str(folder), n_open=200)
    assert check.opened == 199
    assert f"1 of the 200 images opened cannot be read, the first: {path}: " in said(check)
    assert check.notes == (f"1 class folder holds a file that is no image, {folder}/{WNIDS[A[0]]}/rest.tar for one",)
    assert "cannot be read" not in said(check_set("a", str(folder), n_open=0))


def test_flat_validation_images(tmp_path):
    flat = tmp_path / "val"
    flat.mkdir()
    (flat / "ILSVRC2012_val_00000001.JPEG").write_bytes(picture(5))
    check = check_set("val", str(flat))
    assert said(check).startswith("there are no class folders in ")
    (tmp_path / "LOC_val_solution.csv").write_text(
        f"ImageId,PredictionString\nILSVRC2012_val_00000001,{WNIDS[5]} 1 1 1 1"
    )
    check = check_set("val", str(flat))
    assert (check.images, check.classes, check.opened) == (1, 1, 1)


def test_tables_are_counted_by_their_labels(tmp_path_factory):
    place = tmp_path_factory.mktemp("copies")
    rows = [(k, end) for k in range(200) for end in ("jpg", "cls")]
    tar(place / "r.tar", {f"s{k:03d}.{end}": picture(R[k]) if end == "jpg" else str(k).encode() for k, end in rows})
    check = check_set("r", f"webdataset:{place}/r.tar", n_open=10)
    assert (check.images, check.classes, check.opened) == (200, 200, 10)
    assert check.problems == ("200 images are here, 30,000 are published",)
    tar(place / "a.tar", {f"s{k:03d}.{end}": picture(0) if end == "jpg" else b"500" for k, end in rows})
    assert "no ImageNet classes of it (500 is none)" in said(check_set("a", f"webdataset:{place}/a.tar"))


def test_what_is_not_there(tmp_path):
    check = check_set("sketch", None)
    assert said(check).startswith("there is no folder of it (it is looked for as sketch, imagenet-sketch")
    assert said(check_set("a", str(tmp_path / "none"))) == f"No folder {tmp_path}/none for ImageNet-A"
    with pytest.raises(ValueError, match="no set 'c'"):
        check_set("c", None)
    assert checks.published("train").images == (1_281_167,)
