"""`emergence` with real trainings: killed outright and started again, it ends where an unbroken one does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lightning_robust.cli.config_lookup import find_config
from lightning_robust.results import read_curves
from lightning_robust.results.emergence_record import read_emergence

pytestmark = pytest.mark.slow

RUN = "checkpoints/supervised_broad/001-seed0"


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """One of the configs that ship, small."""
    settings = yaml.safe_load(Path(find_config("emergence/supervised_broad")).read_text())
    settings["trainer"]["max_epochs"] = 8
    sizes = {"batch_size": 32, "n_train": 128, "n_val": 100, "n_val_shift": 50, "n_concepts": 200}
    settings["data"]["init_args"] |= sizes
    settings["model"]["init_args"]["warmup_steps"] = 4
    folder = tmp_path_factory.mktemp("configs")
    (folder / "supervised_broad.yaml").write_text(yaml.safe_dump(settings))
    return folder


def command(configs):
    return [
        sys.executable,
        "-m",
        "lightning_robust",
        "emergence",
        "--configs",
        str(configs),
        "--seeds",
        "0",
        "--jobs",
        "1",
    ]


def children(pid):
    """Process ids of a process's own processes."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_killed_and_started_again_it_gives_the_same_curves(configs, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    subprocess.run(command(configs), cwd=whole, check=True, capture_output=True, timeout=500)

    runner = subprocess.Popen(command(configs), cwd=broken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while not (broken / RUN / "last.ckpt").exists() and time.monotonic() < until:
        time.sleep(0.02)
    (training,) = children(runner.pid)
    for pid in (runner.pid, training):
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    assert not (broken / RUN / "results.json").exists(), "it was killed too late to show anything"
    again = subprocess.run(command(configs), cwd=broken, check=True, capture_output=True, text=True, timeout=500)
    assert "goes on" in again.stderr

    curves = [
        {(row.step, row.tag): row.value for row in read_curves(folder / RUN / "signatures.csv")}
        for folder in (whole, broken)
    ]
    assert curves[0].keys() == curves[1].keys()
    assert {step for step, _ in curves[0]} == {0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32}
    assert {k: v for k, v in curves[0].items() if v == v} == {k: v for k, v in curves[1].items() if v == v}
    points = [
        read_emergence(folder / "checkpoints/emergence/001/emergence.json").runs[0].points for folder in (whole, broken)
    ]
    losses = [[point.value("train/loss") for point in found][1:] for found in points]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert points[0][-1].images == 32 * 32

    third = subprocess.run(command(configs), cwd=broken, check=True, capture_output=True, text=True, timeout=500)
    assert "1 of 1 runs are finished already" in third.stderr
    assert "begun" not in third.stderr
