"""Tables of paths and captions: open_clip's defaults, other columns and separators, and what is wrong with one."""

import json

import open_clip_train.data
import pytest
from PIL import Image

from lightning_robust.data.captions.listed import listed_pairs
from lightning_robust.data.reading import UnreadableImageError

from .conftest import picture, pixels, write_csv


def write(folder, text, images=("a.jpg",)):
    for name in images:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(picture(9))
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return folder / "t.csv"


def test_it_is_what_open_clip_reads_with_its_defaults(tmp_path, monkeypatch):
    write_csv(tmp_path / "set", 5)
    monkeypatch.chdir(tmp_path / "set")  # open_clip's paths are relative to it
    theirs = open_clip_train.data.CsvDataset(
        "pairs.csv", pixels, img_key="filepath", caption_key="title", sep="\t", tokenizer=lambda texts: texts
    )
    ours = listed_pairs(tmp_path / "set" / "pairs.csv")
    assert len(ours) == len(theirs) == 5
    for k in range(5):
        image, captions = ours.open(k)
        assert (pixels(image) == theirs[k][0]).all()
        assert captions == (theirs[k][1],)


def test_columns_separator_and_root(tmp_path):
    file = write(tmp_path, 'n;file;text\n1;a.jpg;"a dog; sitting"\n2;b.jpg; ein Bär \n', ("pics/a.jpg", "pics/b.jpg"))
    pairs = listed_pairs(file, image="file", caption="text", separator="semicolon", root="pics")
    assert [pairs.open(k)[1] for k in range(2)] == [("a dog; sitting",), ("ein Bär",)]
    assert pairs.blocks == [2]


def test_absolute_paths_and_a_byte_order_mark(tmp_path):
    file = write(tmp_path, f"\ufefffilepath,title\n{tmp_path}/a.jpg,x\n")
    assert listed_pairs(file, separator=",").open(0)[0].size == (10, 8)


def test_rows_without_a_path_or_caption_are_counted_and_named(tmp_path):
    file = write(tmp_path, "filepath\ttitle\na.jpg\tx\na.jpg\t \n\n\ty\n")
    with pytest.warns(UserWarning, match=r"2 of 3 rows have no path or no caption \(lines 3, 5\); they are left out"):
        pairs = listed_pairs(file)
    assert len(pairs) == 1
    assert "without 2 rows" in pairs.source


def test_a_file_that_ends_within_quotation_marks_is_refused_with_the_line(tmp_path):
    rows = ["filepath\ttitle", *(f"a.jpg\tcaption {k}" for k in range(10))]
    for row, text in ((3, '"tall building'), (10, '"tall building'), (10, '"')):
        for end in ("", "\n"):
            damaged = [*rows[:row], f"a.jpg\t{text}", *rows[row + 1 :]]
            file = write(tmp_path, "\n".join(damaged) + end)
            told = rf"t\.csv ends within quotation marks: one is never closed in the row that begins in line {row + 1}$"
            with pytest.raises(ValueError, match=told):
                listed_pairs(file)
    with pytest.raises(ValueError, match=r"never closed in the row that begins in line 11"):
        listed_pairs(write(tmp_path, "\n".join(rows[:10]) + '\n"'))
    long = [*rows[:3], 'a.jpg\t"tall building', *rows[1:] * 2000]
    with pytest.raises(
        ValueError, match=r"field larger than field limit .* in the row that begins in line 4; a quotation"
    ):
        listed_pairs(write(tmp_path, "\n".join(long)))


def test_rows_that_span_lines_are_counted_and_named(tmp_path):
    """So two stray marks would swallow what lies between them; several lines may be meant too."""
    rows = ["filepath\ttitle", *(f"a.jpg\tcaption {k}" for k in range(10))]
    rows[4], rows[8] = 'a.jpg\t"tall building', 'a.jpg\t"another'
    with pytest.warns(UserWarning, match=r"t\.csv: 1 rows have a cell .* that spans lines \(lines 5 to 9\)"):
        pairs = listed_pairs(write(tmp_path, "\n".join(rows)))
    assert len(pairs) == 6
    meant = "filepath\ttitle\n" + "".join(f'a.jpg\t"two\nlines {k}"\n' for k in range(6))
    with pytest.warns(UserWarning, match=r"6 rows .* \(lines 2 to 3, 4 to 5, 6 to 7, 8 to 9, 10 to 11, …\)"):
        pairs = listed_pairs(write(tmp_path, meant))
    assert [pairs.open(k)[1] for k in range(6)] == [(f"two\nlines {k}",) for k in range(6)]


def test_quotation_marks_that_are_closed_are_no_harm(tmp_path):
    text = 'filepath\ttitle\n"a.jpg"\t"tall" building\na.jpg\tsix " feet\na.jpg\t"the end"'
    pairs = listed_pairs(write(tmp_path, text))
    assert [pairs.open(k)[1] for k in range(3)] == [("tall building",), ('six " feet',), ("the end",)]


def test_half_of_a_surrogate_pair_in_json(tmp_path):
    """JSON can hold it and UTF-8 cannot."""
    rows = '[{"filepath": "a.jpg", "title": "a \\ud83d dog \\ud83d\\ude00"}, {"filepath": "\\ud83d.jpg", "title": "b"}]'
    pairs = listed_pairs(write(tmp_path, rows), "json")
    assert pairs.open(0)[1] == ("a \ufffd dog \U0001f600",)
    assert pairs.open(0)[1][0].encode()
    with pytest.raises(UnreadableImageError, match="no such file"):
        pairs.open(1)


def test_names_too_long_for_a_file_are_no_files(tmp_path):
    rows = f"filepath\ttitle\n{'x' * 300}.jpg\tx\na.jpg\ty\n"
    with pytest.raises(UnreadableImageError, match="no such file"):
        listed_pairs(write(tmp_path, rows)).open(0)


def test_a_missing_image_is_unreadable_when_it_is_asked_for(tmp_path):
    pairs = listed_pairs(write(tmp_path, "filepath\ttitle\nnone.jpg\tx\na.jpg\ty\n"))
    with pytest.raises(UnreadableImageError, match=r"none\.jpg: no such file"):
        pairs.open(0)
    assert isinstance(pairs.open(1)[0], Image.Image)


def test_the_digest_follows_the_content(tmp_path):
    one = listed_pairs(write(tmp_path, "filepath\ttitle\na.jpg\tx\n")).source
    again = listed_pairs(write(tmp_path, "filepath\ttitle\na.jpg\tx\n")).source
    other = listed_pairs(write(tmp_path, "filepath\ttitle\na.jpg\ty\n")).source
    assert one == again != other


ROWS = [
    {"filename": "a.jpg", "wnid": "n1", "title": "a dog", "description": " sitting ", "tags": ["dog", "park"]},
    {"filename": "b.jpg", "wnid": "n2", "title": "", "description": None, "tags": []},
    {"filename": "b.jpg", "wnid": "n2", "title": "a cat", "description": "", "tags": []},
]


@pytest.mark.parametrize("lines", [False, True])
def test_json_as_imagenet_captions_has_it(lines, tmp_path):
    write(tmp_path, "", ("n1/a.jpg", "n2/b.jpg"))
    text = "\n".join(map(json.dumps, ROWS)) if lines else json.dumps(ROWS)
    (tmp_path / "c.json").write_text(text)
    options = {"image": "filename", "folder": "wnid", "caption": "title,description,tags"}
    with pytest.warns(UserWarning, match=r"1 of 3 rows have no path or no caption \(lines 2\)"):
        pairs = listed_pairs(tmp_path / "c.json", "json", **options)
    assert [pairs.open(k)[1] for k in range(2)] == [("a dog", "sitting", "dog", "park"), ("a cat",)]
    assert pairs.open(1)[0].size == (10, 8)


@pytest.mark.parametrize(("text", "message"), [
    ('[{"filepath": "a.jpg"}]', "its first object has no entry 'title', but 'filepath'"),
    ("[1]", "entry 1 is no object"),
    ('{"filepath": ', "cannot be read as a JSON list of pairs: Expecting value"),
    ("[]", "lists no image with a caption"),
    ('[{"filepath": "a.jpg", "title": 3}]', "row 1: a caption has to be text, not int"),
])  # fmt: skip
def test_json_that_does_not_fit(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        listed_pairs(write(tmp_path, text), "json")


@pytest.mark.parametrize(("text", "options", "message"), [
    ("filepath,title\na.jpg,x\n", {}, r"no column 'filepath' between separators '\\t'; its header is 'filepath,title'"),
    ("filepath\ttitle\ttitle\n", {}, "twice the column 'title'"),
    ("filepath\ttitle\na.jpg\n", {}, "line 2: 1 cells, but the header has 2 columns"),
    ("filepath\ttitle\n", {}, "lists no image with a caption"),
    ("", {}, "no column 'filepath'"),
    ("filepath\ttitle\nb.jpg\tx\n", {}, r"Not one of the first 1 images listed .* \(root= names another folder\)"),
    ("filepath\ttitle\n", {"separator": "dash"}, "separator must be one of tab, comma, .* got 'dash'"),
])  # fmt: skip
def test_a_table_that_does_not_fit(text, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        listed_pairs(write(tmp_path, text), **options)


def test_a_table_that_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"No file .*none\.csv: it has to be a list"):
        listed_pairs(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes(b"filepath\ttitle\na\t\xff\n")
    with pytest.raises(ValueError, match="cannot be read as a table in UTF-8"):
        listed_pairs(tmp_path / "t.csv")
