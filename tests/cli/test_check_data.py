"""`check-data`: what a person types, reads, and what a script gets."""

import imagenet_trees
import pytest

from lightning_robust.cli.main import main


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


def status(*arguments):
    try:
        return check(*arguments)
    except SystemExit as stop:
        return stop.code


def test_no_such_folder(tmp_path, capsys):
    assert check(tmp_path / "none") == 2
    assert "No folder" in capsys.readouterr().err
