"""signatures.csv: appending, torn lines, resuming, refusals."""

import csv
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_robust.errors import UserError
from lightning_robust.results import CurveFile, CurveRow, read_curves

ROWS = [CurveRow(0, 0, "kurtosis/head", 2.5), CurveRow(1, 62, "kurtosis/head", 1 / 3), CurveRow(1, 62, "val/acc", 0.1)]


@pytest.fixture
def curves(tmp_path):
    file = CurveFile(tmp_path / "signatures.csv")
    file.append(ROWS)
    return file


def test_any_csv_reader_reads_it(curves):
    with curves.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "tag", "value"]
    assert [float(row["value"]) for row in rows] == [2.5, 1 / 3, 0.1]


def test_round_trip_and_appending(curves):
    more = CurveRow(2, 124, "kurtosis/head", 7.0)
    curves.append([more])
    CurveFile(curves.path).append([])
    assert read_curves(curves.path) == (*ROWS, more)
    assert curves.path.read_text().count("epoch,step") == 1


def test_nan_and_infinity(tmp_path):
    file = CurveFile(tmp_path / "c.csv")
    file.append([CurveRow(0, 0, "a", math.nan), CurveRow(0, 0, "b", math.inf)])
    first, second = read_curves(file.path)
    assert math.isnan(first.value)
    assert second.value == math.inf


@given(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1),
    st.floats(allow_nan=False),
)
def test_any_tag_and_value_come_back(tmp_path_factory, tag, value):
    file = CurveFile(tmp_path_factory.mktemp("curves") / "c.csv")
    row = CurveRow(3, 7, tag, value)
    file.append([row, row])
    assert read_curves(file.path) == (row, row)


def test_killed_at_any_byte_loses_only_the_torn_line(curves):
    whole = curves.path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    more = CurveRow(9, 9, "after", 9.0)
    for cut in range(len(whole) + 1):
        curves.path.write_bytes(whole[:cut])
        complete = max(sum(end <= cut for end in ends) - 1, 0)
        assert read_curves(curves.path) == tuple(ROWS[:complete])
        curves.append([more])
        assert read_curves(curves.path) == (*ROWS[:complete], more)


def test_long_files_keep_their_lines_when_torn(tmp_path):
    file = CurveFile(tmp_path / "c.csv")
    rows = [CurveRow(i, i, f"tag/{'x' * (i % 50)}", float(i)) for i in range(2000)]
    file.append(rows)
    with file.path.open("a") as torn:
        torn.write("5,5," + "y" * 10_000)  # longer than one block of the search from the end
    file.append([ROWS[0]])
    assert read_curves(file.path) == (*rows, ROWS[0])


def test_resuming_drops_later_rows_and_keeps_earlier(curves):
    curves.append([CurveRow(2, 124, "kurtosis/head", 7.0)])
    curves.truncate_after(step=62)
    assert read_curves(curves.path) == tuple(ROWS)
    curves.truncate_after(step=61)
    assert read_curves(curves.path) == tuple(ROWS[:1])
    CurveFile(curves.path.with_name("none.csv")).truncate_after(step=0)
    assert not curves.path.with_name("none.csv").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "first line has to be epoch,step,tag,value"),
        (b"epoch,step,tag,value\n1,2,kurtosis\n", "line 2 of .*'1,2,kurtosis'"),
        (b"epoch,step,tag,value\n1,2,a,3\n1,two,a,3\n", "line 3"),
        (b"epoch,step,tag,value\n-1,2,a,3\n", "line 2"),
        (b"\xff\xfe\n", "not text"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, content, message):
    path = tmp_path / "c.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_curves(path)
    assert "\n" not in str(caught.value)


def test_a_foreign_file_is_never_touched(tmp_path):
    path = tmp_path / "c.csv"
    for content in ("a,b\n1,2\n", "my notes"):
        path.write_text(content)
        with pytest.raises(UserError, match="nothing was added"):
            CurveFile(path).append(ROWS)
        assert path.read_text() == content


def test_missing_file_or_folder(tmp_path):
    with pytest.raises(UserError, match="no curve file"):
        read_curves(tmp_path / "c.csv")
    with pytest.raises(FileNotFoundError):
        CurveFile(tmp_path / "no" / "c.csv").append(ROWS)


@pytest.mark.parametrize("arguments", [(-1, 0, "a", 1.0), (0, -1, "a", 1.0), (0, 0, "", 1.0), (0, 0, "a\nb", 1.0)])
def test_rows_that_cannot_be(arguments):
    with pytest.raises(ValueError, match="curve"):
        CurveRow(*arguments)
