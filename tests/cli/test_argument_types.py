"""Numbers on the command line: what is taken, and what is refused in one sentence."""

import argparse

import pytest

from lightning_robust.cli.argument_types import seed
from lightning_robust.cli.main import main

DATA = ["--data", "scenes"]


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), (str(2**63 - 1), 2**63 - 1)])
def test_seeds(text, number):
    assert seed(text) == number


@pytest.mark.parametrize("text", [str(2**63), "18446744073709551616", "-1", "x", "1.0", "", "²", "9" * 5000])
def test_no_seeds(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a seed: a whole number from 0 to 2\*\*63 - 1"):
        seed(text)


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--model", "scenes-clip", *DATA],
        ["prune", "--model", "scenes-clip", *DATA],
        ["ablate", "--model", "scenes-clip", *DATA],
        ["compress", "--model", "scenes-clip", *DATA],
        ["probe", "--model", "scenes-clip"],
        ["interpolate", "--models", "a", "b"],
    ],
)
def test_every_command_refuses_a_seed_that_is_too_large(capsys, words):
    assert main([*words, "--seed", "18446744073709551616"]) == 2
    error = capsys.readouterr().err
    assert "'18446744073709551616' is not a seed" in error
    assert error.count("\n") == 1
