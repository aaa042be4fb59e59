"""Parquet files, webdataset shards and tables in memory, through the real `datasets`; no network."""

import io
import tarfile

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lightning_robust.data.labelled import LabelledImages, evaluation_loader, open_labelled
from lightning_robust.data.labelled.spec import open_split_sources
from lightning_robust.data.labelled.table import table_source


def encoded(value, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(file, kind)
    return file.getvalue()


def write(path, image="image", **columns):
    n = len(next(iter(columns.values())))
    images = [{"bytes": encoded(10 * i), "path": None} for i in range(n)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({image: images} | columns), path)
    return path


@pytest.mark.parametrize(
    ("column", "values", "classes", "labels"),
    [
        ("label", [2, 0, 2], ("0", "2"), [1, 0, 1]),
        ("cls", [1, 0, 0], ("0", "1"), [1, 0, 0]),
        ("wnid", ["n2", "n1", "n2"], ("n1", "n2"), [1, 0, 1]),
        ("class_name", ["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        ("fine_label", [0, 1, 1], ("0", "1"), [0, 1, 1]),
    ],
)
def test_the_label_column_by_its_name(tmp_path, column, values, classes, labels, pixels):
    found = open_labelled(f"parquet:{write(tmp_path / 'a.parquet', id=[7, 8, 9], **{column: values})}")
    assert found.class_names == classes
    assert found.labels.tolist() == labels
    assert [int(pixels(found.images.open(i))[0, 0, 0]) for i in range(3)] == [0, 10, 20]
    assert found.name == "a"


def table(**more):
    return datasets.Dataset.from_dict({"img": [Image.new("RGB", (2, 2))] * 3, **more})


def test_the_label_column_by_its_type_and_its_names():
    kind = datasets.ClassLabel(names=["cat", "hot dog", "bird"])
    given = table(kind=[1, 0, 1], label=[5, 5, 5]).cast_column("kind", kind)
    assert table_source(given, "t").counts() == {"cat": 1, "hot dog": 2, "bird": 0}
    assert table_source(given, "t", label="label").class_names == ("5",), "only numbers that occur"
    two = given.cast_column("label", datasets.ClassLabel(num_classes=6))
    assert table_source(two, "t").class_names[0] == "0", "of two of that type the one called label"
    named = table_source(table(label=[1, 0, 1]), "t", names="cat,dog")
    assert named.counts() == {"cat": 1, "dog": 2}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"label": [0, -1, 1]}, {}, r"t: row 1, column 'label': the label -1 is negative"),
        ({"label": [0, None, 1]}, {}, "row 1, column 'label': there is no label"),
        ({"label": [0.5, 1.0, 2.0]}, {}, "holds neither whole numbers nor texts"),
        ({"label": [True, False, True]}, {}, "holds neither whole numbers nor texts"),
        ({"kind": [0, 1, 2]}, {}, r"which column holds the labels\? name it as label=; the columns are img"),
        ({"label": [0, 1, 2]}, {"label": "kind"}, "no label column 'kind'"),
        ({"label": [0, 1, 2]}, {"names": "a,b"}, "has the label 2, but there are 2 names"),
        ({"label": ["a", "b", "c"]}, {"names": "a,b,c"}, "holds names already; leave names= out"),
        ({"label": [0, 1, 2]}, {"image": "photo"}, "no image column 'photo'"),
    ],
)
def test_what_is_refused(columns, options, message):
    with pytest.raises(ValueError, match=message):
        table_source(table(**columns), "t", **options)


def shard(path, samples):
    with tarfile.open(path, "w") as tar:
        for key, content in samples:
            info = tarfile.TarInfo(key)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_a_folder_of_webdataset_shards(tmp_path, pixels):
    folder = tmp_path / "wds"
    folder.mkdir()
    for s in range(2):
        rows = [(f"s{s}{i}", 4 * s + i) for i in range(4)]
        parts = [[(f"{k}.cls", str(v % 3).encode()), (f"{k}.jpg", encoded(20 * v, "JPEG"))] for k, v in rows]
        shard(folder / f"test-{s:02}.tar", [item for part in parts for item in part])
    found = open_labelled(f"parquet:{folder}:test")
    assert found.labels.tolist() == [v % 3 for v in range(8)]
    ((images, targets),) = evaluation_loader(LabelledImages(found, pixels), batch_size=8)
    assert targets.tolist() == found.labels.tolist()
    assert images[:, 0, 0, 0].tolist() == pytest.approx([20 * v for v in range(8)], abs=3)


def test_splits_of_a_folder_of_parquet_files(tmp_path):
    for split, n in (("train", 3), ("validation", 2), ("test", 1)):
        write(tmp_path / "set" / f"{split}-00000-of-00001.parquet", label=list(range(n)))
    found = open_split_sources(f"parquet:{tmp_path / 'set'}")
    assert {split: len(source) for split, source in found.items()} == {"train": 3, "val": 2, "test": 1}
    assert list(open_split_sources(f"parquet:{tmp_path / 'set'}:test")) == ["whole"]
    with pytest.raises(ValueError, match="it has several splits; name one of 'train', 'validation', 'test'"):
        open_labelled(f"parquet:{tmp_path / 'set'}")


def test_a_damaged_row_is_left_out_and_named(tmp_path, pixels):
    images = [{"bytes": content, "path": None} for content in (encoded(1), b"rubbish", encoded(3)[:40], encoded(4))]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2, 3]}), tmp_path / "a.parquet")
    loader = evaluation_loader(LabelledImages(open_labelled(f"parquet:{tmp_path / 'a.parquet'}"), pixels))
    with pytest.warns(UserWarning, match=r"left out, . of at most 20: row . of .*a.parquet"):
        ((_, targets),) = loader
    assert targets.tolist() == [0, 3]


def test_nothing_is_fetched_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="nobody/none is not on this machine and nothing is fetched unless asked for"):
        open_labelled("hub:nobody/none")
    with pytest.raises(ValueError, match=r"No file none.parquet: 'parquet:' takes a parquet file"):
        open_labelled("parquet:none.parquet")
