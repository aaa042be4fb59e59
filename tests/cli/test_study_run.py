"""`study` with real trainings and real measurements: killed outright and started again, it ends as an unbroken one."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lightning_robust.cli.config_lookup import find_config
from lightning_robust.results.study_record import read_study

pytestmark = pytest.mark.slow

SIZES = {"n_train": 64, "n_val": 40, "n_val_shift": 20, "n_test": 40, "n_concepts": 100, "batch_size": 16}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The configs of the scenes study, small, and a study of one model with its path."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("scenes_pretrain", "scenes_finetune"):
        settings = yaml.safe_load(Path(find_config(f"study/{name}")).read_text())
        settings["trainer"] |= {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1}
        settings["model"]["init_args"]["warmup_steps"] = 2
        settings["data"]["init_args"] |= SIZES
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    data = {"class_path": "lightning_robust.data.ScenesDataModule", "init_args": SIZES}
    (folder / "data.yaml").write_text(yaml.safe_dump({"data": data}))
    model = {
        "name": "t", "kind": "zero-shot",
        "train": {"config": str(folder / "scenes_pretrain.yaml"), "seed": 1},
        "finetuned": {
            "config": str(folder / "scenes_finetune.yaml"), "encoder": "model.init_args.encoder", "alphas": [0.5, 1.0],
        },
    }  # fmt: skip
    study = {
        "name": "s", "data": str(folder / "data.yaml"), "baseline": "none", "concepts": "scenes?n=100", "seed": 0,
        "measure": ["evaluate", "probe", "prune"], "options": {"prune": {"seeds": 1}}, "models": [model],
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder


def command(files):
    return [sys.executable, "-m", "lightning_robust", "study", "--config", str(files / "study.yaml")]


def children(pid):
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def killed_when(runner, there, seconds=600.0):
    """Kill a command and what it started, outright, once something is there."""
    until = time.monotonic() + seconds
    while not there() and runner.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    assert runner.poll() is None, "it was killed too late to show anything"
    for pid in (runner.pid, *children(runner.pid)):
        os.kill(pid, signal.SIGKILL)
    runner.wait()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_killed_while_training_and_while_measuring_it_gives_the_same_table(files, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    subprocess.run(command(files), cwd=whole, check=True, capture_output=True, timeout=1500)

    runs, measured = broken / "checkpoints", broken / "checkpoints" / "study" / "s" / "measured"
    for there in (
        lambda: (runs / "scenes_pretrain" / "s-t" / "last.ckpt").exists(),
        lambda: (runs / "scenes_finetune" / "s-t-finetuned" / "config.yaml").exists(),
        lambda: any(measured.glob("t-evaluate-*")),
    ):
        runner = subprocess.Popen(command(files), cwd=broken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        killed_when(runner, there)
    again = subprocess.run(command(files), cwd=broken, capture_output=True, text=True, timeout=1500)
    assert again.returncode == 0, again.stderr
    assert "2 of 3 steps are finished already" in again.stderr

    one, two = (read_study(folder / "checkpoints/study/s/study.json") for folder in (whole, broken))
    assert [row.name for row in one.rows] == ["t", "t-finetuned, α = 0.5", "t-finetuned, α = 1"]
    assert [set(row.seconds) for row in one.rows] == [
        {"train", "evaluate", "probe", "prune"},
        {"evaluate", "probe"},
        {"train", "evaluate", "probe", "prune"},
    ]
    for row in one.rows:  # signatures are of the images that accuracy is judged on
        assert row.figures["confidence/accuracy"] == pytest.approx(row.figures["accuracy/reference"], abs=1e-6)
    for a, b in zip(one.rows, two.rows, strict=True):
        assert a.checkpoint_hash == b.checkpoint_hash
        assert a.figures.keys() == b.figures.keys()
        different = [
            tag for tag, value in a.figures.items()
            if value != b.figures[tag] and not (math.isnan(value) and math.isnan(b.figures[tag]))
        ]  # fmt: skip
        assert different == []
    assert two.failures == ()
