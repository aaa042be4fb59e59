"""Several processes judge one Wise-FT path: answers, their order and figures are those of one process."""

from functools import partial

import pytest
from launching import launched

launch = partial(launched, "path_processes.py")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("alone"), 1, "plain")[0]


def assert_same(ranks, alone):
    first, *others = ranks
    assert [rank["error"] for rank in ranks] == [None] * len(ranks)
    assert [rank["path"] for rank in others] == [None] * len(others)
    assert [rank["files"] for rank in ranks] == [4] + [0] * len(others)
    assert all(rank["kept"] for rank in ranks)  # each has its own buffers again
    rows, *rest = first["path"]
    expected, *same = alone["path"]
    assert rest == same  # intervals, α*, counts, what was left out, and the answer to each image in order
    for row, one in zip(rows, expected, strict=True):
        assert row[:4] == one[:4]
        assert row[4].keys() == one[4].keys()
        assert row[4] == pytest.approx(one[4], rel=1e-9, abs=1e-9, nan_ok=True)


def test_the_run_alone_tells_images_and_alphas_apart(alone):
    rows, _, _, images, unreadable, found = alone["path"]
    assert images == {"reference (validation)": 36, "reference": 45, "sketch": 23}
    assert unreadable == {
        "reference (validation)": ["30.jpg: it is empty"],
        "sketch": ["3.jpg: it is empty", "23.jpg: it is empty"],
    }
    assert len({row[2] for row in rows}) == 4
    assert all(0 < sum(right) < len(right) for answers in found.values() for right in answers)
    assert len(rows[0][4]) > 40


def test_two_processes(alone, tmp_path):
    """Buffers and random states of their own; seven batches of the shift, of which some images cannot be read."""
    ranks = launch(tmp_path, 2, "plain")
    assert_same(ranks, alone)
    assert [rank["read"] for rank in ranks] == [list(range(12)), list(range(12, 25))]
    assert [rank["warnings"] for rank in ranks] == [[], []]


@pytest.mark.slow
def test_batches_of_another_form_and_what_cannot_be_shared(tmp_path):
    """One set has a batch for one process alone; of two sets nobody knows the length."""
    (one,), ranks = launch(tmp_path / "one", 1, "foreign"), launch(tmp_path / "two", 2, "foreign")
    assert_same(ranks, one)
    (told,), none = (rank["warnings"] for rank in ranks)
    assert told.startswith("the first process alone reads 'stream', 'list' for the Wise-FT path")
    assert none == []


@pytest.mark.slow
def test_processes_whose_modules_differ_in_form(alone, tmp_path):
    """A buffer has another size on each: the first judges alone."""
    first, second = launch(tmp_path, 2, "buffers")
    assert_same([first, second], alone)
    assert [first["read"], second["read"]] == [list(range(25)), []]
    assert first["warnings"] == [
        "the first process alone judges the Wise-FT path, while the others wait: buffers differ in form between the "
        "processes"
    ]
    assert second["warnings"] == []


@pytest.mark.slow
def test_more_unreadable_images_than_allowed_over_all_processes(tmp_path):
    """One on each, and one is allowed."""
    for rank in launch(tmp_path, 2, "damaged"):
        kind, sentence = rank["error"]
        assert kind == "UserError"
        assert sentence.startswith("2 of the images of 'sketch' cannot be read, more than 1, the first of them 3.jpg")


@pytest.mark.slow
def test_an_error_of_one_process_ends_all(tmp_path):
    first, second = launch(tmp_path, 2, "broken")
    assert second["error"] == ["RuntimeError", "overheated"]
    assert first["error"] == ["RuntimeError", "process 1 ended with: RuntimeError: overheated"]
    assert first["path"] is None


@pytest.mark.slow
def test_an_error_at_the_end_on_the_first_process_ends_all(tmp_path):
    first, second = launch(tmp_path, 2, "disk")
    assert first["error"] == ["OSError", "disk full"]
    assert second["error"] == ["RuntimeError", "process 0 ended with: OSError: disk full"]


@pytest.mark.long
def test_four_processes(alone, tmp_path):
    ranks = launch(tmp_path, 4, "plain")
    assert_same(ranks, alone)
    assert [image for rank in ranks for image in rank["read"]] == list(range(25))
    assert [len(rank["read"]) for rank in ranks] == [4, 8, 8, 5]
