"""What the user is told and what stays a traceback."""

import numpy as np
import pytest

from lightning_robust.cli.main import main
from lightning_robust.cli.refusals import refusal
from lightning_robust.results import CurveRow, atomic_write
from lightning_robust.robustness import mean_shift_difference


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_raise_statement_of_this_package_is_a_refusal(tmp_path):
    assert refusal(caught(lambda: mean_shift_difference({}, {}))) == "both models need the same shifts, got [] and []"
    assert "does not exist" in refusal(caught(atomic_write(tmp_path / "no" / "a").__enter__))


@pytest.mark.parametrize(
    "bug",
    [
        lambda: CurveRow("a", 0, "tag", 1.0),  # a comparison of this package's that fails: no raise statement
        lambda: int("x"),
        lambda: np.zeros(2) @ np.zeros(3),
        lambda: open("/no/such/file"),  # noqa: SIM115, PTH123
    ],
)
def test_the_same_kinds_from_elsewhere_are_bugs(bug):
    error = caught(bug)
    assert isinstance(error, ValueError | TypeError | OSError)
    assert refusal(error) is None


def test_other_kinds_are_bugs():
    assert refusal(RuntimeError("x")) is None
    assert refusal(ValueError("never raised")) is None


def test_no_permission_from_the_system():
    assert refusal(PermissionError(13, "Permission denied", "/a/b")) == "no permission to read or write /a/b"


def test_a_name_that_no_file_can_have(capsys):
    assert main(["evaluate", "--model", "scenes-clip", "--data", "a" * 300]) == 2
    said = capsys.readouterr().err
    assert said == f"lightning-robust: error: no file can be called {'a' * 40}…: its name has 300 characters, " + (
        "and 255 are the most\n"
    )
