"""`LogSteps` on two and four processes over gloo: the curves of one, files written once, and a run that goes on."""

import numpy as np
import pytest
from launching import launched
from safetensors.torch import load_file

from lightning_robust.callbacks.step_checkpoints import step_files
from lightning_robust.models import write_clip_folder
from lightning_robust.results import read_curves

STEPS = {"classifier": [0, 1, 2, 3, 4, 6, 8, 9], "contrastive": [0, 1, 2, 3, 4, 6, 8]}
SCRIPTS = {"classifier": "log_steps_processes.py", "contrastive": "contrastive_steps_processes.py"}
COUNTS = [pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.long)]
#: The same weights before training; after it they differ by the order of sums, and so does every figure.
BEFORE, AFTER = 1e-10, 1e-6


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A transformer: batch norm would see other batches on several processes."""
    folder = tmp_path_factory.mktemp("clip") / "vit"
    words = ["a", "photo", "of", "the", "red", "blue", "star", "heart", "truck"]
    write_clip_folder(folder, words, vision="vit", embed_dim=8, vision_layers=2, vision_width=16, vision_head_width=8)
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def run_of(tmp_path_factory, encoder):
    """The folder of a whole run, and what its processes left; each is made once."""
    made = {}

    def run(which, count):
        if (which, count) not in made:
            folder = tmp_path_factory.mktemp(f"{which}-{count}")
            last = "whole" if which == "classifier" else encoder
            made[which, count] = folder, launched(SCRIPTS[which], folder, count, last, timeout=600)
        return made[which, count]

    return run


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("which", SCRIPTS)
def test_figures_are_those_of_one_process(which, count, run_of):
    _, (one,) = run_of(which, 1)
    _, several = run_of(which, count)
    assert all(each["done"] == one["done"] == STEPS[which] for each in several)
    assert len({str(each["histories"]) for each in several}) == 1
    for key, history in one["histories"].items():
        found = several[0]["histories"][key]
        assert [(e["epoch"], e["step"]) for e in found] == [(e["epoch"], e["step"]) for e in history]
        assert [e["step"] for e in found] == STEPS[which]
        for entry, expected in zip(found, history, strict=True):
            rel = BEFORE if entry["step"] == 0 else AFTER
            assert entry["scalars"] == pytest.approx(expected["scalars"], rel=rel, abs=1e-12, nan_ok=True)
    tags = {tag for history in one["histories"].values() for entry in history for tag in entry["scalars"]}
    for start in ("kurtosis/", "outliers/", "spectrum/", "importance/", "weights/", "concepts/", "er/"):
        assert any(tag.startswith(start) for tag in tags), start


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("which", SCRIPTS)
def test_one_process_writes_curves_and_checkpoints(which, count, run_of):
    one, several = (run_of(which, number)[0] for number in (1, count))
    expected, found = (read_curves(folder / "curves.csv") for folder in (one, several))
    assert [(row.epoch, row.step, row.tag) for row in found] == [(row.epoch, row.step, row.tag) for row in expected]
    assert [row.value for row in found] == pytest.approx([row.value for row in expected], rel=AFTER, nan_ok=True)
    here, there = (step_files(folder / "steps") for folder in (one, several))
    assert list(here) == list(there) == STEPS[which]
    for step in STEPS[which]:
        whole, state = load_file(here[step]), load_file(there[step])
        assert all((state[name] - whole[name]).abs().max() < 1e-9 for name in whole)


@pytest.mark.parametrize("count", COUNTS)
def test_a_run_that_was_broken_off_in_a_validation_goes_on(count, run_of, tmp_path):
    whole, ranks = run_of("classifier", count)
    launched(SCRIPTS["classifier"], tmp_path, count, "break", timeout=600)
    assert list(step_files(tmp_path / "steps")) == [0, 1, 2, 3]
    resumed = launched(SCRIPTS["classifier"], tmp_path, count, "resume", timeout=600)
    assert resumed[0]["done"] == STEPS["classifier"]
    assert len({str(rank["histories"]) for rank in resumed}) == 1
    rows, expected = (read_curves(folder / "curves.csv") for folder in (tmp_path, whole))
    if count == 2:
        assert resumed[0]["weights"] == ranks[0]["weights"]
        assert str(resumed[0]["histories"]) == str(ranks[0]["histories"])
        assert [str(row) for row in rows] == [str(row) for row in expected]
    # of four, DDP may add gradients in another order in the first step after it started than later
    assert np.array(resumed[0]["weights"]) == pytest.approx(np.array(ranks[0]["weights"]), abs=1e-14)
    assert [(row.epoch, row.step, row.tag) for row in rows] == [(row.epoch, row.step, row.tag) for row in expected]
    assert [row.value for row in rows] == pytest.approx([row.value for row in expected], rel=1e-12, nan_ok=True)
