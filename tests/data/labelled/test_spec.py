"""Labelled images by a short text."""

import pytest

from lightning_robust.data.labelled import open_labelled
from lightning_robust.data.labelled.spec import open_split_sources, parsed


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("some/folder", ("folder", "some/folder", {})),
        ("some/folder?order=integer", ("folder", "some/folder", {"order": "integer"})),
        ("csv:a.csv?image=x&label=y", ("csv", "a.csv", {"image": "x", "label": "y"})),
        ("hub:me/set:test?label=fine", ("hub", "me/set:test", {"label": "fine"})),
        ("c:/folder", ("folder", "c:/folder", {})),
    ],
)
def test_parts(spec, expected):
    assert parsed(spec) == expected


@pytest.mark.parametrize(
    "spec", ["a?order", "a?order=", "a?root=b", "a?order=name&order=name", "a?", "csv:a?order=name"]
)
def test_bad_options(spec):
    with pytest.raises(ValueError, match="is no option; they are name=value with & between them"):
        parsed(spec)


@pytest.mark.parametrize("spec", ["", "csv:", "hub:?label=x"])
def test_nothing_named(spec):
    with pytest.raises(ValueError, match=r"No images .*; what works: FOLDER, csv:FILE"):
        parsed(spec)


def test_no_such_folder():
    with pytest.raises(ValueError, match="No images 'brodn:here': there is no such folder; what works: FOLDER"):
        open_labelled("brodn:here")


def test_folders_with_odd_names(tmp_path, tree):
    for name in ("what?", "csv:x", "a:b"):
        assert open_labelled(str(tree(tmp_path / name, {"a": 1}))).counts() == {"a": 1}
    assert open_labelled(f"{tree(tmp_path / 'v2', {'2': 1, '10': 2})}?order=integer").counts() == {"2": 1, "10": 2}


def test_a_folder_that_is_divided(tmp_path, tree):
    folder = tmp_path / "set"
    for split, n in (("train", 3), ("Validation", 2), ("test", 1)):
        tree(folder / split, {"a": n, "b": n})
    found = open_split_sources(str(folder))
    assert {split: source.counts() for split, source in found.items()} == {
        "train": {"a": 3, "b": 3}, "val": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1},
    }  # fmt: skip
    tree(folder / "valid", {"a": 1})
    with pytest.raises(ValueError, match="'Validation' and 'valid' are two names of one split"):
        open_split_sources(str(folder))


def test_a_class_called_train_is_a_class(tmp_path, tree):
    assert open_split_sources(str(tree(tmp_path / "vehicles", {"car": 1, "train": 2})))["whole"].counts() == {
        "car": 1, "train": 2,
    }  # fmt: skip
    assert list(open_split_sources(str(tree(tmp_path / "only", {"train": 2, "test": 1})))) == ["whole"]
