"""Tables that are divided where the terminal is too narrow."""

import io

import pytest
from rich.console import Console

from lightning_robust.report.fitting import print_fitting

LABELS = ["first", "second", "mean"]
COLUMNS = [[(f"column {k}", [f"{k}.{row}" for row in range(3)])] for k in range(6)]
PAIR = [("left", ["a" * 20] * 3), ("right", ["b" * 20] * 3)]


def printed(width, labels, groups, **options):
    out = io.StringIO()
    print_fitting(Console(file=out, width=width), labels, groups, **options)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 30, 40, 60, 100])
@pytest.mark.parametrize("labels", [LABELS, ["long" * 12, *LABELS[1:]]])
def test_every_cell_is_whole_at_any_width(width, labels):
    lines = printed(width, labels, COLUMNS)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for k in range(6):
        assert all(words.count(f"{k}.{row}") == 1 for row in range(3))
    assert " ".join(words).count("column") == 6


def test_columns_stand_in_one_table_where_they_fit():
    assert len([line for line in printed(80, LABELS, COLUMNS) if "second" in line]) == 1
    assert len([line for line in printed(40, LABELS, COLUMNS) if "second" in line]) == 2
    assert printed(40, LABELS, []) == []


def test_a_group_is_kept_together():
    lines = [line for line in printed(70, LABELS, [COLUMNS[0], COLUMNS[1], PAIR]) if "second" in line]
    assert [("0.1" in line, "1.1" in line, "aaa" in line, "bbb" in line) for line in lines] == [
        (True, True, False, False),
        (False, False, True, True),
    ]
    narrow = [line for line in printed(40, LABELS, [PAIR]) if "second" in line]
    assert [("aaa" in line, "bbb" in line) for line in narrow] == [(True, False), (False, True)]


def test_the_last_row_stands_apart():
    lines = printed(80, LABELS, COLUMNS, last_apart=True)
    row = next(k for k, line in enumerate(lines) if "mean" in line)
    assert not lines[row - 1].strip()
    assert "second" in lines[row - 2]
