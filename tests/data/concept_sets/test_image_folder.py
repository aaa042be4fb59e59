"""Images with a CSV file of labels."""

import pytest
import torch
from PIL import Image

from lightning_robust.data.concept_sets import concept_loader, csv_concepts


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "zoo"
    (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(["a.png", "sub/b.png", "c.png"]):
        Image.new("L", (6, 5), 10 * i).save(folder / name)
    return folder


def write(folder, text, name="labels.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


TABLE = "image,colour:red,dog,colour:blue\nc.png,1,0,\na.png,0.0,1.0,True\nsub/b.png,,-1,false\n"


def test_labels_and_images_in_the_order_of_the_file(folder, pixels):
    made = csv_concepts(write(folder, TABLE), pixels)
    assert made.concepts == ("colour:red", "dog", "colour:blue")
    assert made.categories == ("colour", "concept", "colour")
    assert made.name == "zoo"
    ((images, labels),) = concept_loader(made)
    assert labels.tolist() == [[1, 0, -1], [0, 1, 1], [-1, -1, 0]]
    assert labels.dtype == torch.int8
    assert tuple(images.shape) == (3, 3, 5, 6)
    assert images[:, 0, 0, 0].tolist() == [20, 0, 10]


def test_the_file_in_a_folder(folder):
    write(folder, TABLE, "animals.csv")
    write(folder, "concept,category\ndog,animal\n", "categories.csv")
    made = csv_concepts(folder)
    assert made.name == "animals"
    assert made.categories == ("colour", "animal", "colour"), "and the categories beside it"
    write(folder, TABLE, "other.csv")
    with pytest.raises(ValueError, match=r"have to be in labels.csv; found animals.csv, other.csv"):
        csv_concepts(folder)
    write(folder, TABLE)
    assert csv_concepts(folder).name == "zoo"


def test_categories_that_are_given(folder):
    file = write(folder, TABLE)
    assert csv_concepts(file, categories={"dog": "animal"}).categories == ("colour", "animal", "colour")
    other = write(folder, "category,concept\nhue,colour:red\n", "hues.csv")
    assert csv_concepts(file, categories=other).categories == ("hue", "concept", "colour")
    with pytest.raises(ValueError, match="A category is given for 'cat', which is no column"):
        csv_concepts(file, categories={"cat": "animal"})
    with pytest.raises(ValueError, match=r"No file .*none.csv: it would have the columns concept,category"):
        csv_concepts(file, categories=folder / "none.csv")
    for bad in ("dog,animal\ndog,pet\n", "dog,\n"):
        with pytest.raises(ValueError, match="the concept 'dog' needs one category, once"):
            csv_concepts(file, categories=write(folder, f"concept,category\n{bad}", "bad.csv"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("image,dog\na.png,1\nc.png,2\n", r"labels.csv, line 3, column 'dog': '2' is neither 1 .*, 0 .* nor empty"),
        ("image,dog\na.png,yes\n", "line 2, column 'dog': 'yes' is neither"),
        ("image,dog\n,1\n", "line 2, column 'image': it is empty"),
        ("image,dog\na.png,1\nc.png,1\na.png,0\n", r"line 4: the image 'a.png' is listed before, .*line 2"),
        ("image,dog\n", "lists 0 images and 1 concepts"),
        ("image\na.png\n", "lists 1 images and 0 concepts"),
        ("file,dog\na.png,1\n", "has no column 'image'; its header is 'file,dog'"),
        ("image,dog\nx.png,1\n", r"1 of 1 images listed in .* are missing, the first of them .*x.png"),
    ],
)
def test_what_is_refused(folder, table, said):
    with pytest.raises(ValueError, match=said):
        csv_concepts(write(folder, table))


def test_missing_files(folder, pixels):
    with pytest.raises(ValueError, match=r"No file .*: a concept set needs a CSV file with the column image"):
        csv_concepts(folder / "none.csv")
    with pytest.raises(ValueError, match=r"have to be in labels.csv; found no CSV file"):
        csv_concepts(folder)
    file = write(folder, "image,dog\na.png,1\nx.png,1\nc.png,0\n")
    with pytest.raises(ValueError, match="1 of 3 images listed"):
        csv_concepts(file, max_missing=0)
    with pytest.warns(UserWarning, match=r"left out, 1 of at most 20: .*x.png: no such file"):
        ((images, labels),) = concept_loader(csv_concepts(file, pixels))
    assert labels.tolist() == [[1], [0]]
    assert images[:, 0, 0, 0].tolist() == [0, 20]
