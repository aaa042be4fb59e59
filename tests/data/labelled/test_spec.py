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


def test_a_folder_beside_splits_is_refused(tmp_path, tree):
    for split in ("train", "val"):
        tree(tmp_path / "set" / split, {"a": 1, "b": 1})
    (tmp_path / "set" / "test").mkdir()
    with pytest.raises(ValueError, match=r"holds 'train', 'val', with folders .* beside 'test': its folders are"):
        open_split_sources(str(tmp_path / "set"))


def test_a_root_of_domains_is_said(tmp_path, tree):
    for domain in ("photo", "sketch"):
        tree(tmp_path / "sets" / domain, {"cat": 1, "dog": 1})
    with pytest.warns(UserWarning, match=r"'photo', 'sketch' are taken for classes, but each holds .* 'cat', 'dog'"):
        open_split_sources(str(tmp_path / "sets"))


def test_the_split_column_of_a_list(tmp_path, tree):
    tree(tmp_path / "a", {"x": 3})
    lines = [f"a/x/{k:03}.png,x,{split}" for k, split in enumerate(("train", "Test", "train"))]
    (tmp_path / "l.csv").write_text("\n".join(["path,label,split", *lines]))
    found = open_split_sources(f"csv:{tmp_path / 'l.csv'}")
    assert {split: source.keys() for split, source in found.items()} == {
        "train": ["a/x/000.png", "a/x/002.png"], "test": ["a/x/001.png"],
    }  # fmt: skip
    (tmp_path / "l.csv").write_text("path,label,split\na/x/000.png,x,fold1\n")
    with pytest.raises(ValueError, match="the column 'split' has to hold train, val or test in every row, not 'fold1'"):
        open_split_sources(f"csv:{tmp_path / 'l.csv'}")
