"""Tables with multi-label columns: parquet files written by pyarrow, folders, data sets in memory; no network."""

import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lightning_robust.data.concept_sets import concept_loader, hub_concepts
from lightning_robust.data.hub_tables import open_table


def png(value):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write(path, **columns):
    n = len(next(iter(columns.values())))
    images = [{"bytes": png(10 * i), "path": None} for i in range(n)]
    pq.write_table(pa.table({"image": images} | columns), path)
    return path


TAGS = [["cat"], ["dog", "cat"], None, []]
TAG_LABELS = [[1, 0], [1, 1], [-1, -1], [0, 0]]


def test_a_list_of_texts(tmp_path, pixels, capfd):
    made = hub_concepts(write(tmp_path / "pets.parquet", tags=TAGS, id=[7, 8, 9, 10]), pixels)
    assert made.concepts == ("cat", "dog")
    assert made.categories == ("concept", "concept")
    assert made.name == "pets"
    ((images, labels),) = concept_loader(made)
    assert labels.tolist() == TAG_LABELS
    assert images[:, 0, 0, 0].tolist() == [0, 10, 20, 30]
    assert capfd.readouterr() == ("", ""), "no progress bar and no log line"


def test_workers_read_the_same(tmp_path, pixels):
    made = hub_concepts(write(tmp_path / "pets.parquet", tags=TAGS), pixels)
    ((images, _), (more, _)) = concept_loader(made, batch_size=2, num_workers=2)
    assert [*images[:, 0, 0, 0].tolist(), *more[:, 0, 0, 0].tolist()] == [0, 10, 20, 30]


def test_bars_logs_and_offline_are_as_before(tmp_path):
    file = write(tmp_path / "pets.parquet", tags=TAGS)
    for bars in (True, False):
        (datasets.enable_progress_bars if bars else datasets.disable_progress_bars)()
        datasets.logging.set_verbosity_info()
        before = datasets.config.HF_HUB_OFFLINE
        try:
            hub_concepts(file)
            with pytest.raises(ValueError, match="not on this machine"):
                hub_concepts("nobody/nothing")
            assert datasets.are_progress_bars_disabled() is not bars
            assert datasets.logging.get_verbosity() == datasets.logging.INFO
            assert datasets.config.HF_HUB_OFFLINE is before
        finally:
            datasets.enable_progress_bars()
            datasets.logging.set_verbosity_warning()


def test_columns_of_yes_and_no(tmp_path):
    columns = {"colour:red": [True, None, False, True], "dog": [1, 0, None, -1], "width": [4, 5, 6, 7]}
    made = hub_concepts(write(tmp_path / "a.parquet", **columns))
    assert made.concepts == ("colour:red", "dog")
    assert made.categories == ("colour", "concept")
    assert made.all_labels().tolist() == [[1, 1], [-1, 0], [0, -1], [1, -1]]
    assert hub_concepts(tmp_path / "a.parquet", labels="dog").concepts == ("dog",)
    with pytest.raises(ValueError, match=r"'width' holds neither lists of labels nor 1, 0 and null; it is Value"):
        hub_concepts(tmp_path / "a.parquet", labels=["dog", "width"])


def test_class_labels_and_their_names():
    features = datasets.Features(
        {"image": datasets.Image(), "tags": datasets.List(datasets.ClassLabel(names=["cat", "dog", "eel"]))}
    )
    rows = {"image": [Image.new("RGB", (2, 2))] * 3, "tags": [[1], None, ["cat", "eel"]]}
    made = hub_concepts(datasets.Dataset.from_dict(rows, features=features))
    assert made.concepts == ("cat", "dog", "eel"), "those that no image shows too"
    assert made.all_labels().tolist() == [[0, 1, 0], [-1, -1, -1], [1, 0, 1]]


def test_one_class_label_an_image():
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [Image.new("RGB", (2, 2))] * 4, "label": [1, 0, -1, None]}
    made = hub_concepts(datasets.Dataset.from_dict(rows, features=features))
    assert made.concepts == ("a", "b")
    assert made.all_labels().tolist() == [[0, 1], [1, 0], [-1, -1], [-1, -1]]


def test_whole_numbers(tmp_path):
    file = write(tmp_path / "a.parquet", tags=[[2], [7, 2], [7]])
    assert hub_concepts(file).concepts == ("2", "7")
    assert hub_concepts(file).all_labels().tolist() == [[1, 0], [1, 1], [0, 1]]
    named = hub_concepts(file, names=[f"n{i}" for i in range(8)])
    assert named.concepts[7] == "n7"
    assert np.flatnonzero(named.all_labels()[1]).tolist() == [2, 7]
    with pytest.raises(ValueError, match="row 1, column 'tags': the label 7 is none of the 3 named"):
        hub_concepts(file, names=["a", "b", "c"])


def test_several_lists_are_categories(tmp_path):
    file = write(tmp_path / "a.parquet", objects=[["cup"], None], colours=[["red"], ["blue", "red"]])
    with pytest.raises(ValueError, match="which columns hold the labels\\? name them as labels="):
        hub_concepts(file)
    made = hub_concepts(file, labels=["objects", "colours"])
    assert made.concepts == ("objects:cup", "colours:blue", "colours:red")
    assert made.categories == ("objects", "colours", "colours")
    assert made.all_labels().tolist() == [[1, 0, 1], [-1, 1, 1]]


def test_a_field_of_a_list_of_records(tmp_path):
    objects = [[{"name": "wall", "id": 1}, {"name": "door", "id": 2}], [], None, [{"name": "wall", "id": 3}]]
    file = write(tmp_path / "a.parquet", objects=objects)
    made = hub_concepts(file, labels="objects.name")
    assert made.concepts == ("door", "wall")
    assert made.all_labels().tolist() == [[1, 1], [0, 0], [-1, -1], [0, 1]]
    with pytest.raises(ValueError, match="no list of records with a field 'colour'"):
        hub_concepts(file, labels="objects.colour")


def test_a_selection_keeps_images_and_labels_together(tmp_path, pixels):
    table = open_table(write(tmp_path / "a.parquet", tags=TAGS, dog=[True, False, None, True])).select([3, 1])
    for labels, expected in (("tags", [[0, 0], [1, 1]]), ("dog", [[1], [0]])):
        ((images, found),) = concept_loader(hub_concepts(table, pixels, labels=labels))
        assert images[:, 0, 0, 0].tolist() == [30, 10]
        assert found.tolist() == expected


def test_patterns_and_folders_with_splits(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train-0.parquet", tags=[["a"]])
    write(folder / "train-1.parquet", tags=[["b"], ["c"]])
    write(folder / "test-0.parquet", tags=[["a"]] * 4)
    pattern = hub_concepts(folder / "train-*.parquet")
    assert pattern.concepts == ("a", "b", "c")
    assert pattern.name == "train"
    assert len(hub_concepts(folder, split="test")) == 4
    with pytest.raises(ValueError, match="it has several splits; name one of 'train', 'test'"):
        hub_concepts(folder)
    with pytest.raises(ValueError, match="it has no split 'val'; name one of 'train', 'test'"):
        hub_concepts(folder, split="val")


def test_a_folder_of_images_with_metadata(tmp_path, pixels):
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for i, tags in enumerate([["x"], ["x", "y"]]):
        Image.new("RGB", (3, 3), (i, 0, 0)).save(folder / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "tags": tags}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    ((images, labels),) = concept_loader(hub_concepts(folder, pixels))
    assert labels.tolist() == [[1, 0], [1, 1]]
    assert images[:, 0, 0, 0].tolist() == [0, 1]


def test_bad_images_are_left_out(tmp_path, pixels):
    cells = [{"bytes": png(0), "path": None}, {"bytes": b"no", "path": None}, None, {"bytes": png(9), "path": None}]
    pq.write_table(pa.table({"image": cells, "tags": [["a"], ["a"], [], []]}), tmp_path / "a.parquet")
    loader = concept_loader(hub_concepts(tmp_path / "a.parquet", pixels))
    with pytest.warns(UserWarning, match=r"row [12] of .*a.parquet: (not an image|there is no image)"):
        ((images, labels),) = loader
    assert len(loader.unreadable) == 2
    assert labels.tolist() == [[1], [0]]
    assert images[:, 0, 0, 0].tolist() == [0, 9]


def test_encoded_images_in_a_plain_column(tmp_path, pixels):
    pq.write_table(pa.table({"jpg": [png(1), png(2)], "tags": [["a"], []]}), tmp_path / "a.parquet")
    image, labels = hub_concepts(tmp_path / "a.parquet", pixels)[1]
    assert image[0, 0, 0] == 2
    assert labels.tolist() == [0]


def test_which_column_holds_the_images(tmp_path):
    one = Image.new("RGB", (2, 2))
    two = datasets.Dataset.from_dict({"left": [one], "right": [one], "dog": [True]})
    with pytest.raises(ValueError, match="which column holds the images"):
        hub_concepts(two)
    assert hub_concepts(two, image="left").concepts == ("dog",)
    with pytest.raises(ValueError, match=r"no image column 'middle'; the columns are left \(Image"):
        hub_concepts(two, image="middle")
    with pytest.raises(ValueError, match="'dog' does not hold images"):
        hub_concepts(two, image="dog")
    with pytest.raises(ValueError, match="no label column 'cat'"):
        hub_concepts(two, image="left", labels="cat")
    with pytest.raises(ValueError, match="labels must name one or more columns"):
        hub_concepts(two, image="left", labels=[])


def test_lists_of_something_else(tmp_path):
    file = write(tmp_path / "a.parquet", boxes=[[0.5], [0.25]])
    with pytest.raises(ValueError, match="which columns hold the labels"):
        hub_concepts(file)
    with pytest.raises(ValueError, match="'boxes' holds neither lists of labels nor 1, 0 and null"):
        hub_concepts(file, labels="boxes")


def test_what_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"nobody/nothing is not on this machine and nothing is fetched unless asked"):
        hub_concepts("nobody/nothing")
    with pytest.raises(ValueError, match=r"No file .*none.parquet"):
        hub_concepts(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"bad.parquet cannot be opened by datasets"):
        hub_concepts(tmp_path / "bad.parquet")
    script = tmp_path / "old"
    script.mkdir()
    (script / "old.py").write_text("")
    with pytest.raises(ValueError, match="a loading script, which datasets no longer runs; use a parquet copy"):
        hub_concepts(script)


def test_a_download_that_fails(monkeypatch):
    def refuse(**_):
        raise ConnectionError("Couldn't reach the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(ValueError, match=r"could not be fetched \(ConnectionError: Couldn't reach the Hub\); save"):
        hub_concepts("nobody/nothing", download=True)


def test_without_download_the_network_is_not_asked(monkeypatch):
    asked = []

    def look(**arguments):
        asked.append(datasets.config.HF_HUB_OFFLINE)
        return {"train": datasets.Dataset.from_dict({"image": [Image.new("RGB", (2, 2))], "dog": [True]})}

    monkeypatch.setattr(datasets, "load_dataset", look)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    hub_concepts("some/body")
    hub_concepts("some/body", download=True)
    assert asked == [True, False]
