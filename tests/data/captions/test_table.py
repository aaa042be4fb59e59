"""Pairs in tables of `datasets`: which columns, several captions, rows that lack something."""

import datasets
import pytest
from PIL import Image

from lightning_robust.data.captions.columns import caption_columns
from lightning_robust.data.captions.table import captioned_table, table_pairs

from .conftest import write_parquet, write_shards

RED = Image.new("RGB", (3, 2), "red")


def table(**columns):
    return datasets.Dataset.from_dict(columns)


def test_parquet_files_in_their_order(tmp_path):
    write_parquet(tmp_path / "set", [2, 3])
    pairs = captioned_table("parquet", f"{tmp_path}/set/p-*.parquet")
    assert [pairs.open(k)[1] for k in range(5)] == [(f"pair {k}",) for k in range(5)]
    assert pairs.open(3)[0].size == (10, 8)
    assert "image and caption" in pairs.source


def test_shards_opened_by_datasets_have_the_columns_of_their_endings(tmp_path):
    write_shards(tmp_path / "set", [3])
    pairs = captioned_table("parquet", f"{tmp_path}/set/s-*.tar")
    assert [pairs.open(k)[1] for k in range(3)] == [(f"pair {k}",) for k in range(3)]


@pytest.mark.parametrize(("columns", "given", "expected"), [
    ({"title": ["a"], "caption": ["b"]}, None, ("caption",)),
    ({"caption_10": ["a"], "caption_2": ["b"], "x": [1]}, None, ("caption_2", "caption_10")),
    ({"x": ["a"], "y": ["b"]}, "y,x", ("y", "x")),
    ({"sentences": [["a", "b"]]}, None, ("sentences",)),
])  # fmt: skip
def test_which_columns(columns, given, expected):
    assert caption_columns(table(**columns), given) == expected


@pytest.mark.parametrize(("columns", "given", "message"), [
    ({"x": ["a"]}, None, "which column holds the captions"),
    ({"x": ["a"]}, "y", "no caption column 'y'"),
    ({"caption": [1]}, None, "'caption' holds neither texts nor lists of texts, but Value"),
])  # fmt: skip
def test_columns_that_do_not_fit(columns, given, message):
    with pytest.raises(ValueError, match=message):
        table_pairs(table(image=[RED], **columns), "small", caption=given)


def test_several_captions_of_a_row():
    assert table_pairs(table(image=[RED], captions=[["a", " ", "b"]]), "small").open(0)[1] == ("a", "b")
    numbered = table(image=[RED, RED], caption_0=["a", "d"], caption_1=[None, "e"], caption_2=["c", "f"])
    assert [table_pairs(numbered, "small").open(k)[1] for k in range(2)] == [("a", "c"), ("d", "e", "f")]
    lines = table(image=[RED], txt=["a\nb"], caption=["a\nb"])
    assert table_pairs(lines, "small").open(0)[1] == ("a\nb",)
    assert table_pairs(lines, "small", caption="txt").open(0)[1] == ("a", "b")
    assert table_pairs(lines, "small", lines="split").open(0)[1] == ("a", "b")


def test_rows_without_image_or_caption_are_counted_and_named():
    rows = table(image=[RED, None, RED, RED, RED], caption=["a", "b", None, " ", "e"])
    with pytest.warns(UserWarning, match=r"small: 3 of 5 rows have no image or no caption \(rows 1, 2, 3\)"):
        pairs = table_pairs(rows, "small")
    assert [pairs.open(k)[1] for k in range(len(pairs))] == [("a",), ("e",)]
    assert "without 3 rows" in pairs.source
    with pytest.raises(ValueError, match="no row has an image and a caption"):
        table_pairs(
            table(image=[RED], captions=[[]]).cast_column("captions", datasets.List(datasets.Value("string"))), "x"
        )


def test_a_file_that_is_not_there():
    with pytest.raises(ValueError, match=r"No file none\.parquet: 'parquet:' takes"):
        captioned_table("parquet", "none.parquet")
