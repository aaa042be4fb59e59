"""CSV tables: complaints name file, line and column."""

import re

import pytest

from lightning_robust.data.csv_tables import read_table


def test_byte_order_mark_spaces_and_empty_lines(tmp_path):
    file = tmp_path / "t.csv"
    file.write_bytes("\ufeffimage , a\r\n\r\n x.jpg ,1\r\n , \r\n".encode())
    columns, rows = read_table(file, needs=("image",))
    assert columns == ("image", "a")
    assert [row.cells for row in rows] == [{"image": "x.jpg", "a": "1"}]


def test_rows_know_where_they_stand(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text('image,"a,b"\n\nx.jpg,"1"\n\ny.jpg,0.5\n')
    columns, rows = read_table(file)
    assert columns == ("image", "a,b")
    assert [row.where for row in rows] == [f"{file}, line 3", f"{file}, line 5"]
    assert rows[1].number("a,b") == 0.5
    with pytest.raises(ValueError, match=r"line 5, column 'a,b': '0.5' is not a whole number"):
        rows[1].whole("a,b")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; its first line has to name the columns"),
        (b"a,b\n1,2\n", "has no column 'image'; its header is 'a,b'"),
        (b"image;dog\n", "has semicolons between its cells, where commas have to stand; its header is 'image;dog'"),
        (b"image,a,a\n", "has the column 'a' twice"),
        (b"image,a\nx\n", "line 2: 1 cells, but the header has 2 columns"),
        (b"image,a\nx,1,2\n", "line 2: 3 cells"),
        ("image,é\n".encode("latin-1"), "cannot be read as a CSV file in UTF-8"),
        (b"image,a\nx," + b"9" * 200_000 + b"\n", "cannot be read as a CSV file: field larger"),
    ],
)
def test_what_is_refused(tmp_path, content, said):
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        read_table(file, needs=("image",))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('image,label\na.jpg,"dog\nb.jpg,cat\nc.jpg,"dog\n', "begins in line 2; a quotation mark may not be closed"),
        ('image,label\na.jpg,x\nb.jpg,"dog\nc.jpg,cat\n', "begins in line 3; a quotation mark may not be closed"),
        (
            'image,label\na.jpg,"dog\nb.jpg,cat"\nc.jpg,dog\n',
            "line 2: a quotation mark is opened there and closed in line 3",
        ),
    ],
)
def test_an_open_quotation_mark_swallows_no_rows(tmp_path, content, said):
    file = tmp_path / "a.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=said):
        read_table(file)


def test_a_cell_in_quotation_marks_may_hold_a_comma(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text('image,label\na.jpg,"dog, small"\n')
    assert read_table(file)[1][0].cells["label"] == "dog, small"
