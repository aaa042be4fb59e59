"""CSV lists of images and classes."""

import pytest
from PIL import Image

from lightning_robust.data.labelled import open_labelled
from lightning_robust.data.labelled.csv_list import csv_list


def write(tmp_path, text, files=("a.png", "b.png", "sub/c.png")):
    for k, file in enumerate(files):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (k, 0, 0)).save(tmp_path / file)
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    return tmp_path / "list.csv"


@pytest.mark.parametrize("header", ["path,label", "image,class", "\ufeffPath,Label", "filename,wnid"])
def test_columns_by_their_usual_names(tmp_path, header, pixels):
    found = csv_list(write(tmp_path, f"{header}\nsub/c.png,dog\na.png,cat\nb.png,dog\n"))
    assert found.class_names == ("cat", "dog")
    assert found.labels.tolist() == [1, 0, 1]
    assert [int(pixels(found.images.open(i))[0, 0, 0]) for i in range(3)] == [2, 0, 1]
    assert found.name == "list"


def test_numbers_are_ordered_as_numbers(tmp_path):
    found = csv_list(write(tmp_path, "path,label\na.png,10\nb.png,9\nsub/c.png,100\n"))
    assert found.class_names == ("9", "10", "100")
    assert found.labels.tolist() == [1, 0, 2]


def test_options_by_the_short_text(tmp_path):
    file = write(tmp_path / "lists", "id,file,kind,label\n1,c.png,dog,x\n", files=())
    write(tmp_path / "images", "", files=("c.png",))
    found = open_labelled(f"csv:{file}?image=file&label=kind&root=../images")
    assert found.counts() == {"dog": 1}
    found.images.open(0)
    with pytest.raises(ValueError, match=r"'size=3' in .* is no option; .* 'csv:' takes image, label, root"):
        open_labelled(f"csv:{file}?size=3")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("path,label\n", {}, "lists no images"),
        ("", {}, "is empty; its first line has to name the columns"),
        ("a,b\nx,y\n", {}, r"Which column of .* holds the paths\? Name it as image=; its header is 'a,b'"),
        ("path,image,label\n", {}, "holds the paths"),
        ("path,kind\na.png,x\n", {}, "holds the classes"),
        ("path,label\na.png,x\n", {"label": "kind"}, "has no column 'kind'; its header is 'path,label'"),
        ("path,label\na.png,\n", {}, r"list.csv, line 2, column 'label': it is empty"),
        ("path,label\n,x\n", {}, r"line 2, column 'path': it is empty"),
        ("path,label\na.png,x\na.png,y\n", {}, r"line 3: the image 'a.png' is listed before, .*line 2"),
        ("path,label\na.png,x\nsub/.././a.png,y\n", {}, r"line 3: the image 'sub/.././a.png' is listed before"),
        ("path\tlabel\na.png\tx\n", {}, "has tabs between its cells, where commas have to stand"),
        ("path,label\na.png,-1\nb.png,0\n", {}, "the label -1 is negative"),
        ("path,label\nz.png,x\ny.png,x\n", {}, r"Not one of the 2 images .* is there, the first of them .*z.png"),
        ("path,label\na.png,x\n", {"root": "no"}, "No folder .*no, which the paths in"),
        ("path,label\na.png,x,y\n", {}, "line 2: 3 cells, but the header has 2 columns"),
    ],
)
def test_what_is_refused(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        csv_list(write(tmp_path, text), **options)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"No file .*none.csv: it has to be a CSV list"):
        open_labelled(f"csv:{tmp_path / 'none.csv'}")
