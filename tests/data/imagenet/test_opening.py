"""Copies of every kind: folders, flat Kaggle folders, tar shards, parquet, several splits, lists."""

import datasets
import pytest
import torch
from imagenet_trees import OBJECTS, WNIDS, R, class_of, fill, picture, tar
from PIL import Image
from timm.data import ImageNetInfo
from torchvision.transforms.functional import pil_to_tensor

from lightning_robust.data.imagenet.opening import open_set


@pytest.fixture
def place(tmp_path_factory):
    """A folder without `test` in its path, which `datasets` would take for the name of a split."""
    return tmp_path_factory.mktemp("copies")


def shown(opened):
    """The class that each image shows by its colour."""
    images = opened.source.images
    return [int(class_of(pil_to_tensor(images.open(k)))) for k in range(len(images))]


def parquet(path, columns, features=None):
    count = len(next(iter(columns.values())))
    columns = {"image": [{"bytes": picture(k), "path": None} for k in columns.pop("shows", range(count))], **columns}
    types = {"image": datasets.Image(), **(features or {})}
    for name, values in columns.items():
        types.setdefault(name, datasets.Value("string" if isinstance(values[0], str) else "int64"))
    datasets.Dataset.from_dict(columns, datasets.Features(types)).to_parquet(str(path))
    return f"parquet:{path}"


@pytest.mark.parametrize("name", ["val", "v2", "sketch", "r", "a"])
def test_folders_show_what_their_labels_say(whole, name):
    folder = {"v2": "imagenetv2-matched-frequency-format-val", "r": "imagenet-r", "a": "imagenet-a"}.get(name, name)
    opened = open_set(name, str(whole / folder))
    assert shown(opened) == opened.targets.tolist()
    assert opened.targets.tolist() == sorted(opened.targets.tolist()), "V2's folders are numbers: 2 before 10"
    assert len(opened.source) == (200 if name in "ra" else 1000)


def test_objectnet_leaves_out_what_imagenet_lacks(whole):
    opened = open_set("objectnet", str(whole / "objectnet-1.0" / "images"))
    assert len(opened.source) == 313
    assert (opened.targets >= 0).sum() == 113
    covered = opened.covered()
    assert len(covered.source) == 113
    assert shown(covered) == covered.targets.tolist() == [OBJECTS[f][1][0] for f in sorted(OBJECTS) if OBJECTS[f][1]]
    partial = open_set("val", str(whole / "val"))
    assert partial.covered() is partial


def test_an_unknown_folder_of_objectnet_is_refused(tmp_path):
    fill(tmp_path / "images", {"alarm_clock": 409, "alarm-clock": 409})
    with pytest.raises(ValueError, match=r"the folder images .*ObjectNet has no object 'alarm-clock' .*'alarm_clock'"):
        open_set("objectnet", str(tmp_path / "images"))


def test_tar_shards_with_labels(place):
    for shard in range(2):
        rows = range(100 * shard, 100 * shard + 100)
        samples = {f"s{k:04d}.{end}": picture(R[k]) if end == "jpg" else str(k).encode() for k in rows
                   for end in ("jpg", "cls")}  # fmt: skip
        tar(place / f"{shard}.tar", samples)
    opened = open_set("r", f"webdataset:{place}/*.tar")
    assert opened.targets.tolist() == R, "labels 0 to 199 are positions in sorted wnids"
    assert shown(opened) == R
    whole_folder = open_set("r", f"webdataset:{place}")
    assert whole_folder.targets.tolist() == R


def test_tar_shards_of_folders_are_labelled_by_their_keys(place):
    order = [0, 10, 2, 999]
    folder = "imagenetv2-matched-frequency-format-val"
    tar(place / "v2.tar", {f"{folder}/{k}/abc{k}.jpeg": picture(k) for k in order})
    opened = open_set("v2", f"webdataset:{place}/v2.tar")
    assert opened.targets.tolist() == order == shown(opened)
    tar(place / "bare.tar", {f"{k}.jpeg": picture(k) for k in order})
    with pytest.raises(ValueError, match="neither a label cls nor a class folder in the key '0'"):
        open_set("v2", f"webdataset:{place}/bare.tar")


def test_tables_with_numbers_names_and_wnids(tmp_path):
    numbers = open_set("val", parquet(tmp_path / "n.parquet", {"label": [999, 10, 2], "shows": [999, 10, 2]}))
    assert numbers.targets.tolist() == [999, 10, 2] == shown(numbers)
    said = ImageNetInfo().label_descriptions()
    said[517] = "crane2"  # class 134 is a crane too, and datasets wants each name once
    words = datasets.ClassLabel(names=said)
    named = open_set("val", parquet(tmp_path / "w.parquet", {"label": [7, 3]}, {"label": words}))
    assert named.targets.tolist() == [7, 3]
    wnids = datasets.ClassLabel(names=[WNIDS[k] for k in reversed(R)])  # in another order than the sorted one
    mixed = open_set("r", parquet(tmp_path / "c.parquet", {"label": [0, 199]}, {"label": wnids}))
    assert mixed.targets.tolist() == [R[199], R[0]]
    texts = {"class_name": ["goldfish", "cobra"], "wnid": [WNIDS[1], WNIDS[63]]}
    assert open_set("r", parquet(tmp_path / "t.parquet", texts)).targets.tolist() == [1, 63]


def test_test_labels_that_are_held_back_are_refused(tmp_path):
    where = parquet(tmp_path / "test.parquet", {"label": [-1, -1]})
    with pytest.raises(ValueError, match="the label -1 is negative, which usually means that labels are held back"):
        open_set("val", where)


def test_several_splits_are_one_set(place):
    for split, labels in (("train", [5, 6]), ("validation", [7])):
        parquet(place / f"{split}-0.parquet", {"label": labels, "shows": labels})
    opened = open_set("sketch", f"parquet:{place}:train+validation")
    assert opened.targets.tolist() == [5, 6, 7] == shown(opened)
    with pytest.raises(ValueError, match="it has no split 'test'"):
        open_set("sketch", f"parquet:{place}:train+test")


def test_the_flat_validation_folder_of_kaggle(tmp_path):
    flat = tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    flat.mkdir(parents=True)
    rows = ["ImageId,PredictionString"]
    for k, index in enumerate([5, 999, 5]):
        (flat / f"ILSVRC2012_val_{k:08d}.JPEG").write_bytes(picture(index))
        rows.append(f"ILSVRC2012_val_{k:08d},{WNIDS[index]} 1 2 3 4 {WNIDS[0]} 5 6 7 8")
    with pytest.raises(ValueError, match=r"no class folders in .*val; .*put Kaggle's LOC_val_solution.csv beside it"):
        open_set("val", str(flat))
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(rows))
    opened = open_set("val", str(flat))
    assert opened.targets.tolist() == [5, 999, 5] == shown(opened)
    (flat / "other.JPEG").write_bytes(picture(1))
    with pytest.raises(ValueError, match=r"1 images in .* are not listed in .*, the first: other.JPEG"):
        open_set("val", str(flat))
    (tmp_path / "LOC_val_solution.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is no list with the columns ImageId,PredictionString"):
        open_set("val", str(flat))


def test_a_list(tmp_path, whole):
    lines = [f"{whole}/sketch/{WNIDS[k]}/{WNIDS[k]}_0.JPEG,{WNIDS[k]}" for k in (9, 3)]
    (tmp_path / "list.csv").write_text("\n".join(["path,wnid", *lines]))
    opened = open_set("sketch", f"csv:{tmp_path}/list.csv")
    assert opened.targets.tolist() == [9, 3] == shown(opened)


def test_what_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"No folder .*none for ImageNet-A"):
        open_set("a", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"No tar shards .*: 'webdataset:' takes a tar file"):
        open_set("a", f"webdataset:{tmp_path}/none-*.tar")
    with pytest.raises(ValueError, match="is not on this machine and nothing is fetched unless asked for"):
        open_set("val", "hub:ILSVRC/imagenet-1k:validation")
    with pytest.raises(ValueError, match="no set 'c'"):
        open_set("c", str(tmp_path))
    (tmp_path / "broken.tar").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be opened by datasets"):
        open_set("a", f"webdataset:{tmp_path}/broken.tar")


def test_torch_is_not_asked_for_random_numbers(whole):
    before = torch.get_rng_state()
    open_set("a", str(whole / "imagenet-a"))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_of_imagenet_are_not_turned_as_published_loaders_do_not(tmp_path):
    (tmp_path / "n01440764").mkdir(parents=True)
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "n01440764" / "a.JPEG", exif=exif)
    assert open_set("val", str(tmp_path)).source.images.open(0).size == (40, 20)
