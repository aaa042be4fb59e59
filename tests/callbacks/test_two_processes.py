"""Two processes over gloo see what one sees, and both come to an end."""

from functools import partial
from pathlib import Path

import pytest
from launching import launched
from safetensors.torch import load_file

from lightning_robust.results import read_curves

pytestmark = pytest.mark.slow
launch = partial(launched, "two_processes.py", timeout=900)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def runs(folders):
    one, two = folders
    return launch(one, 1) + launch(two, 2)


def test_figures_are_those_of_one_process(runs):
    one, first, second = runs
    for key, history in one["histories"].items():
        for rank in (first, second):
            found = rank["histories"][key]
            assert [(e["epoch"], e["step"]) for e in found] == [(e["epoch"], e["step"]) for e in history]
            for entry, expected in zip(found, history, strict=True):
                assert list(entry["scalars"]) == list(expected["scalars"])
                # the same weights before training; those after it differ by the order of sums
                rel = 1e-10 if entry["step"] == 0 else 1e-6
                assert entry["scalars"] == pytest.approx(expected["scalars"], rel=rel, abs=1e-12, nan_ok=True)


def test_both_processes_hold_the_same_figures_to_watch(runs):
    _, first, second = runs
    watched = {tag for history in first["histories"].values() for tag in history[-1]["scalars"]}
    assert watched <= set(first["watched"])
    here, there = ({tag: run["watched"][tag] for tag in watched} for run in (first, second))
    assert here == pytest.approx(there, nan_ok=True, rel=0, abs=0)
    assert str(first["histories"]) == str(second["histories"])


def test_wise_ft_writes_once_and_judges_all_images(runs, folders):
    one, first, second = runs
    assert len(first["files"]) == len(one["files"]) == 3
    assert second["files"] == second["rows"] == []
    assert first["images"] == one["images"] == {"reference (validation)": 30, "reference": 45, "sketch": 25}
    # weights differ by the order of sums, so accuracies are those of one process and so is all that follows of them
    assert first["rows"] == one["rows"]
    assert all(len(row[4]["shifts"]) == 1 and row[4]["mean"]["interval"] for row in first["rows"])
    for here, there in zip(first["files"], one["files"], strict=True):
        state, expected = load_file(here), load_file(there)
        assert all((state[name] - expected[name]).abs().max() < 1e-9 for name in expected)
    assert sorted(path.name for path in (folders[1] / "wise_ft").iterdir()) == sorted(
        Path(file).name for file in one["files"]
    )


def test_one_process_writes_the_curves(runs, folders):
    one, two = (read_curves(folder / "curves.csv") for folder in folders)
    assert [(row.epoch, row.step, row.tag) for row in two] == [(row.epoch, row.step, row.tag) for row in one]
