"""`check-data`: what a person types, reads, and what a script gets."""

import imagenet_trees
import pytest

from lightning_robust.cli.main import main
from lightning_robust.data.imagenet.opening import open_set


@pytest.fixture(scope="module")
def shifts(tmp_path_factory):
    """A whole ImageNet-V2 and a partial ImageNet-A."""
    root = tmp_path_factory.mktemp("imagenet")
    imagenet_trees.v2(root, per_class=10)
    imagenet_trees.a(root)
    return root


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def check(*arguments):
    return main(["check-data", *map(str, arguments)])


def test_a_whole_set_is_status_0(shifts, capsys):
    assert check(shifts, "--sets", "v2") == 0
    out = capsys.readouterr().out
    assert "│ V2 matched-frequency │ 10,000 │    10,000 │ 1000/1000 │    100 │ whole │" in out
    assert out.rstrip().endswith("Everything asked for is there and as published.")


def test_what_is_missing_or_wrong_is_status_1_and_said(shifts, capsys):
    assert check(shifts, "--open", 3) == 1
    out = capsys.readouterr().out
    assert "ImageNet train: there is no folder of it (it is looked for as train)." in out
    assert "ImageNet-A (imagenet-a): 200 images are here, 7,500 are published." in out
    assert "6 of 7 sets are missing or wrong: ImageNet train, ImageNet val, ImageNet-R" in out
    rows = {line.split("│")[1].strip(): line.split("│")[6].strip() for line in out.splitlines() if line.startswith("│")}
    assert rows == {"ImageNet train": "missing", "ImageNet val": "missing", "V2 matched-frequency": "whole",
                    "R": "missing", "Sketch": "missing", "ObjectNet": "missing", "A": "wrong"}  # fmt: skip
    opened = {line.split("│")[1].strip(): line.split("│")[5].strip() for line in out.splitlines() if line[:1] == "│"}
    assert opened["A"] == "3"


def test_variants_and_places(shifts, capsys, tmp_path):
    assert check(shifts, "--sets", "v2", "--v2", "top-images") == 1
    assert "ImageNet-V2 top-images: there is no folder of it" in capsys.readouterr().out
    elsewhere = imagenet_trees.v2(tmp_path, "top-images", per_class=10)
    assert check(shifts, "--sets", "v2", "--v2", "top-images", "--path", f"v2={elsewhere}") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sets", "v3"], "no set 'v3'; there are train, val, v2, r, sketch, objectnet, a"),
        (["--v2", "top"], "ImageNet-V2 has no variant 'top'"),
        (["--path", "r"], "--path takes SET=WHERE, each set once"),
        (["--path", "r=x", "--path", "r=y"], "--path takes SET=WHERE, each set once"),
        (["--path", "c=x"], "a place is given for 'c', which is no set"),
        (["--sets", "v2", "--path", "a=x"], "--path a=… has no effect, since --sets leaves a out"),
        (["--download"], "--download has no effect without a set of the Hub"),
        (["--open", "-1"], "'-1' is not a whole number of at least 0"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(shifts, capsys, arguments, sentence):
    assert status(shifts, *arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert "Traceback" not in captured.err
    assert not captured.out


def test_what_systems_leave_behind_is_no_class(tmp_path, capsys):
    folder = imagenet_trees.v2(tmp_path, per_class=10)
    for name in ("__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN"):
        (folder / name).mkdir()
        (folder / name / "x.pyc").touch()
    assert check(tmp_path, "--sets", "v2", "--open", 3) == 0
    assert len(open_set("v2", str(folder)).source) == 10_000  # and it can be evaluated on
    capsys.readouterr()
    (folder / "old").mkdir()
    assert check(tmp_path, "--sets", "v2", "--open", 3) == 1
    assert "1 folder is no class of it: 'old'" in capsys.readouterr().out


def test_a_naming_error_stands_alone(tmp_path, capsys):
    imagenet_trees.fill(tmp_path / "val", {**imagenet_trees.by_wnid(range(3)), "5": 5})
    assert check(tmp_path, "--sets", "val") == 1
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ImageNet val")]
    assert len(said) == 1
    assert said[0].startswith("ImageNet val (val): '5' is no class of it; its 1000 classes are known by wnid")


@pytest.mark.parametrize("name", ["Coffee_French press", "coffee french press", "coffee_french_press"])
def test_objects_by_any_mixture_of_gaps(tmp_path, capsys, name):
    folder = imagenet_trees.fill(tmp_path / "objectnet-1.0" / "images", {name: 550, "Alarm clock": 409})
    assert check(tmp_path, "--sets", "objectnet") == 1
    out = capsys.readouterr().out
    assert "no class of it" not in out
    assert "111 of 113 classes are missing" in out
    assert sorted(open_set("objectnet", str(folder)).targets) == [409, 550]


@pytest.mark.parametrize("name", ["val", "validation", "elsewhere", "flat"])
def test_the_folder_of_a_set_itself(tmp_path, capsys, name):
    folder = tmp_path / name
    if name == "flat":
        folder.mkdir()
        (folder / "ILSVRC2012_val_00000001.JPEG").write_bytes(imagenet_trees.picture(0))
    else:
        imagenet_trees.val(tmp_path, name=name)
    assert check(folder) == 2
    said = capsys.readouterr()
    kind = "images" if name == "flat" else "class folders"
    above = str(tmp_path) if name.startswith("val") else "the folder above it"
    known = "val" if name.startswith("val") else "train"
    assert said.err == (
        f"lightning-robust: error: {folder} is a set itself, for {kind} lie in it: give {above}, which holds the sets, "
        f"or say which set it is by --path {known}={folder}\n"
    )
    assert check(folder, "--path", f"val={folder}", "--sets", "val") == 1
    assert "is a set itself" not in capsys.readouterr().err


def test_a_picture_or_a_folder_of_a_year_makes_no_set(tmp_path, capsys):
    for name in ("._x.jpg", "logo.png"):
        (tmp_path / name).write_bytes(imagenet_trees.picture(0))
    for name in ("2023", "raw", "cats.jpg"):
        (tmp_path / name).mkdir()
    assert check(tmp_path) == 1
    assert "7 of 7 sets are missing or wrong" in capsys.readouterr().out


def test_a_root_with_any_set_in_it_is_no_set_itself(tmp_path, capsys):
    imagenet_trees.val(tmp_path)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(imagenet_trees.picture(0))
    assert check(tmp_path, "--sets", "r") == 1
    assert "ImageNet-R: there is no folder of it" in capsys.readouterr().out


def test_a_set_that_is_a_link_to_another(tmp_path, capsys):
    imagenet_trees.train(tmp_path, indices=range(3))
    (tmp_path / "val").symlink_to("train")
    assert check(tmp_path, "--sets", "train", "val") == 1
    out = capsys.readouterr().out
    assert f"ImageNet val (val): it has the same files as ImageNet train, {tmp_path.resolve() / 'train'}." in out
    assert out.count("the same files") == 1


def status(*arguments):
    try:
        return check(*arguments)
    except SystemExit as stop:
        return stop.code


def test_no_such_folder(tmp_path, capsys):
    assert check(tmp_path / "none") == 2
    assert "No folder" in capsys.readouterr().err
