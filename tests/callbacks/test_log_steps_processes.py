"""`LogSteps` on two processes over gloo: the curves of one, files written once, and a run that goes on."""

from functools import partial

import pytest
from launching import launched
from safetensors.torch import load_file

from lightning_robust.callbacks.step_checkpoints import step_files
from lightning_robust.results import read_curves

pytestmark = pytest.mark.slow
launch = partial(launched, "log_steps_processes.py", timeout=600)
STEPS = [0, 1, 2, 3, 4, 6, 8, 9]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: tmp_path_factory.mktemp(name) for name in ("one", "two", "stopped")}


@pytest.fixture(scope="module")
def runs(folders):
    return launch(folders["one"], 1, "whole") + launch(folders["two"], 2, "whole")


def test_figures_are_those_of_one_process(runs):
    one, first, second = runs
    assert one["done"] == first["done"] == second["done"] == STEPS
    assert str(first["histories"]) == str(second["histories"])
    for key, history in one["histories"].items():
        found = first["histories"][key]
        assert [(e["epoch"], e["step"]) for e in found] == [(e["epoch"], e["step"]) for e in history]
        assert [e["step"] for e in found] == STEPS
        for entry, expected in zip(found, history, strict=True):
            # the same weights before training; those after it differ by the order of sums
            rel = 1e-10 if entry["step"] == 0 else 1e-6
            assert entry["scalars"] == pytest.approx(expected["scalars"], rel=rel, abs=1e-12, nan_ok=True)


def test_one_process_writes_curves_and_checkpoints(runs, folders):
    one, two = (read_curves(folders[name] / "curves.csv") for name in ("one", "two"))
    assert [(row.epoch, row.step, row.tag) for row in two] == [(row.epoch, row.step, row.tag) for row in one]
    here, there = (step_files(folders[name] / "steps") for name in ("one", "two"))
    assert list(here) == list(there) == STEPS
    for step in STEPS:
        state, expected = load_file(there[step]), load_file(here[step])
        assert all((state[name] - expected[name]).abs().max() < 1e-9 for name in expected)


def test_a_run_that_was_broken_off_in_a_validation_goes_on(runs, folders):
    folder = folders["stopped"]
    launch(folder, 2, "break")
    assert list(step_files(folder / "steps")) == [0, 1, 2, 3]
    first, second = launch(folder, 2, "resume")
    assert first["weights"] == runs[1]["weights"]
    assert str(first["histories"]) == str(second["histories"]) == str(runs[1]["histories"])
    rows, expected = (read_curves(folders[name] / "curves.csv") for name in ("stopped", "two"))
    assert [str(row) for row in rows] == [str(row) for row in expected]
