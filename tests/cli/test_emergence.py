"""`emergence`: what is trained, skipped, gone on with and compared; a stand-in for training copies a finished run."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from emergence_data import figures
from torch.utils.tensorboard import SummaryWriter

from lightning_robust.cli import emergence as command_module
from lightning_robust.cli import emergence_training
from lightning_robust.cli.emergence_images import images_per_step
from lightning_robust.cli.emergence_plan import PlannedRun, plan_runs, refuse_other_settings
from lightning_robust.cli.emergence_training import RunTask, train_runs
from lightning_robust.cli.main import main
from lightning_robust.cli.task_progress import TaskProgress
from lightning_robust.errors import UserError
from lightning_robust.results import CurveFile, CurveRow, DataDescription, RunRecord, collect_provenance, write_run
from lightning_robust.results.emergence_record import read_emergence

STEPS = (0, 1, 2, 4, 8)
VARIANTS = ("contrastive_broad", "supervised_reference")
COPY = "import shutil, sys; print('trained'); shutil.copytree(sys.argv[1], sys.argv[2])"


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(emergence_training, "_POLL_SECONDS", 0.05)
    (tmp_path / "configs").mkdir()
    for variant in VARIANTS:
        settings = {
            "trainer": {"max_epochs": 2, "devices": 1},
            "model": {"class_path": "a", "init_args": {"lr": 0.002}},
            "data": {"class_path": "b", "init_args": {"batch_size": 32}},
        }
        (tmp_path / "configs" / f"{variant}.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def write_finished(folder, variant, seed):
    """The folder of a run with the files that a comparison reads."""
    folder.mkdir(parents=True)
    tower = "encoder." if variant.startswith("contrastive") else "model.encoder."
    rows = []
    for step in STEPS:
        for tag, value in figures(variant, seed, 100 * step).items():
            if tag != "train/loss":
                rows.append(CurveRow(0, step, tag.replace("/visual", f"/{tower}visual"), value))
        rows.append(CurveRow(0, step, f"not_finite/{tower}visual/kurtosis", 0.0))
    CurveFile(folder / "signatures.csv").append(rows)
    with SummaryWriter(folder) as writer:
        for step in range(STEPS[-1]):
            writer.add_scalar("train/loss", float(step), step)
    config = {"seed_everything": seed, "trainer": {"devices": 1}, "data": {"init_args": {"batch_size": 32}}}
    record = RunRecord(
        kind="x", provenance=collect_provenance(threads=1), seeds={"everything": seed}, config=config,
        data=DataDescription(dataset="scenes", protocol="top-1", images={"reference": 10}),
        conventions=("effective robustness while training: validation images, against scenes: 13 models",),
    )  # fmt: skip
    write_run(record, folder / "results.json")


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures take seconds, and one test looks at them."""
    monkeypatch.setattr(command_module, "_draw", lambda record, folder: None)


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """Instead of training, a copy of a finished run: labels of those that were started, and of those to fail."""
    started, failing = [], set()

    def command(run):
        started.append(run.label)
        if run.label in failing:
            return [sys.executable, "-c", "print('one\\ntwo'); raise SystemExit('out of luck')"]
        finished = tmp_path / "prepared" / run.variant / run.name
        if not finished.exists():
            write_finished(finished, run.variant, run.seed)
        return [sys.executable, "-c", COPY, str(finished), str(run.folder)]

    monkeypatch.setattr(PlannedRun, "command", command)
    return started, failing


def emergence(*arguments):
    return main(["emergence", "--configs", "configs", "--seeds", "0", "1", *arguments])


def test_everything_is_trained_once_and_compared(work, trainings, capsys):
    started, _ = trainings
    assert emergence() == 0
    assert started == [f"{variant}, seed {seed}" for seed in (0, 1) for variant in VARIANTS]
    folder = work / "checkpoints" / "emergence" / "001"
    names = {"emergence.json", "emergence.csv", "emergence.png", "emergence.svg", "onsets.png", "onsets.svg", "logs"}
    assert {path.name for path in folder.iterdir()} == names
    record = read_emergence(folder / "emergence.json")
    assert [(run.variant, run.seed) for run in record.runs] == [(v, seed) for v in VARIANTS for seed in (0, 1)]
    assert record.baseline == "validation images, against scenes: 13 models"
    point = record.runs[3].points[3]
    assert (point.step, point.images) == (4, 4 * 32)
    expected = figures("supervised_reference", 1, 400)
    assert {tag: point.figures[tag] for tag in expected if tag != "train/loss"} == {
        tag: value for tag, value in expected.items() if tag != "train/loss"
    }
    assert "not_finite/visual/kurtosis" not in point.figures
    with (folder / "emergence.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * len(STEPS)
    said = capsys.readouterr()
    assert "Rank correlation" in said.out
    assert "supervised_reference, seed 1: finished" in said.err


def test_the_loss_of_a_point_is_the_mean_since_the_one_before(work, trainings, undrawn):
    assert emergence("--variants", "contrastive_broad") == 0
    record = read_emergence(work / "checkpoints" / "emergence" / "001" / "emergence.json")
    # batch k has the loss k: before step 4 those of batches 2 and 3 are new, before step 8 those of 4 to 7
    losses = [point.value("train/loss") for point in record.runs[0].points]
    assert losses[1:] == [0.0, 1.0, 2.5, 5.5]
    assert losses[0] != losses[0]


def test_what_is_done_is_skipped(work, trainings, undrawn, capsys):
    started, _ = trainings
    assert emergence("--variants", "contrastive_broad") == 0
    first = started.copy()
    assert emergence() == 0
    assert len(started) == 4
    assert len(set(started)) == 4
    assert set(first) < set(started)
    assert "2 of 4 runs are finished already" in capsys.readouterr().err


def test_a_run_that_fails_is_told_of_and_the_others_are_compared(work, trainings, undrawn, capsys):
    _, failing = trainings
    failing.add("contrastive_broad, seed 1")
    assert emergence() == 1
    said = capsys.readouterr()
    assert "contrastive_broad, seed 1 failed with exit status 1" in said.err
    assert "one\ntwo\nout of luck" in said.err
    record = read_emergence(work / "checkpoints" / "emergence" / "001" / "emergence.json")
    assert len(record.runs) == 3
    assert record.missing == {"contrastive_broad, seed 1": "it failed"}
    failing.clear()
    assert emergence() == 0
    assert len(read_emergence(work / "checkpoints" / "emergence" / "001" / "emergence.json").runs) == 4


def test_where_all_fail_nothing_is_compared(work, trainings, undrawn):
    _, failing = trainings
    failing.update(f"{variant}, seed {seed}" for variant in VARIANTS for seed in (0, 1))
    assert emergence() == 1
    assert [path.name for path in (work / "checkpoints" / "emergence" / "001").iterdir()] == ["logs"]


def test_a_run_that_ends_well_without_results_has_failed(work, trainings, monkeypatch, capsys):
    monkeypatch.setattr(PlannedRun, "command", lambda run: [sys.executable, "-c", "print('nothing done')"])
    assert emergence("--variants", "contrastive_broad") == 1
    assert "exit status 0; the last lines" in capsys.readouterr().err


def test_report_only_trains_nothing_and_takes_what_is_finished(work, trainings, undrawn, capsys):
    started, _ = trainings
    assert emergence("--report_only") == 2
    assert "no run of the comparison '001' is finished" in capsys.readouterr().err
    assert not (work / "checkpoints").exists()
    assert emergence("--variants", "contrastive_broad") == 0
    started.clear()
    assert emergence("--report-only") == 0
    assert started == []
    record = read_emergence(work / "checkpoints" / "emergence" / "001" / "emergence.json")
    assert record.missing == dict.fromkeys([f"supervised_reference, seed {seed}" for seed in (0, 1)], "not finished")


def test_a_run_with_other_settings_is_refused(work, trainings, undrawn, capsys):
    folder = work / "checkpoints" / "contrastive_broad" / "001-seed0"
    folder.mkdir(parents=True)
    settings = yaml.safe_load((work / "configs" / "contrastive_broad.yaml").read_text())
    settings |= {"seed_everything": 0, "extra": 1}
    for part in ("model", "data"):
        settings[part]["init_args"]["seed"] = 0
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    logs = work / "checkpoints" / "emergence" / "001" / "logs"
    logs.mkdir(parents=True)
    (logs / "contrastive_broad-seed0.log").write_text("begun by this command")
    assert emergence() == 0  # what the config does not state is a default
    settings["model"]["init_args"]["lr"] = 0.004
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    assert emergence() == 2
    assert "model.init_args.lr = 0.004, and its config has 0.002 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--variants", "contrastive"], "no variant 'contrastive'"),
        (["--configs", "nowhere"], "there are no configs in"),
        (["--run_name", "a/b"], "one folder name"),
        (["--jobs", "0"], "whole number of at least 1"),
        (["--seeds", "-1"], "whole number from 0 to"),
    ],
)
def test_bad_input_is_one_sentence(work, arguments, words, capsys):
    assert emergence(*arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (work / "checkpoints").exists()


@pytest.mark.parametrize("text", ["a: [", "trainer: {}"])
def test_a_file_that_is_no_config_is_refused(work, text, capsys):
    (work / "configs" / "contrastive_broad.yaml").write_text(text)
    assert emergence() == 2
    assert "contrastive_broad.yaml" in capsys.readouterr().err


def test_a_run_that_cannot_be_compared_is_named(work, trainings, capsys):
    finished = work / "prepared" / "contrastive_broad" / "001-seed0"
    write_finished(finished, "contrastive_broad", 0)
    CurveFile(finished / "signatures.csv").truncate_after(0)
    assert emergence("--variants", "contrastive_broad") == 2
    assert "needs step 0 and at least one later one" in capsys.readouterr().err


def test_the_four_that_ship_differ_in_objective_and_data_alone():
    runs = plan_runs([7], None, None, "a")
    assert [run.variant for run in runs] == [
        f"{o}_{d}" for o in ("contrastive", "supervised") for d in ("broad", "reference")
    ]
    settings = [run.settings() for run in runs]
    for found, run in zip(settings, runs, strict=True):
        objective, data = run.variant.split("_")
        assert (
            found["seed_everything"] == found["model"]["init_args"]["seed"] == found["data"]["init_args"]["seed"] == 7
        )
        assert found["data"]["init_args"].pop("train_on") == data
        assert found["data"]["init_args"].pop("task") == {"contrastive": "caption", "supervised": "classify"}[objective]
        model = found["model"].pop("class_path")
        assert model.endswith(f"{objective.capitalize()}Pretraining")
        found["model"]["init_args"].pop("lr")
        for callback in found["trainer"]["callbacks"]:
            layers = callback["init_args"].get("layers", [])
            callback["init_args"]["layers"] = [layer.removeprefix("model.") for layer in layers]
    assert settings[0] == settings[1] == settings[2] == settings[3]
    data, epochs = settings[0]["data"]["init_args"], settings[0]["trainer"]["max_epochs"]
    assert data["n_train"] * epochs == 128 * 2400
    assert data["n_train"] % data["batch_size"] == 0


def begun_settings(work, **changes):
    """What a run saves: the config of contrastive_broad as it was parsed, with defaults."""
    settings = yaml.safe_load((work / "configs" / "contrastive_broad.yaml").read_text())
    settings |= {"seed_everything": 0, "extra": 1}
    for part in ("model", "data"):
        settings[part]["init_args"]["seed"] = 0
    settings["model"]["init_args"] |= changes
    return settings


def test_settings_are_compared_as_the_parser_reads_them(work):
    file = work / "configs" / "contrastive_broad.yaml"
    # without a point this is text in YAML 1.1, and a number to the command line's parser; a class may go by its name
    text = file.read_text().replace("lr: 0.002", "lr: 2e-3").replace("class_path: a", "class_path: Model")
    file.write_text(text)
    assert yaml.safe_load(text)["model"]["init_args"]["lr"] == "2e-3"
    (run,) = plan_runs([0], ["contrastive_broad"], work / "configs", "a")
    run.folder.mkdir(parents=True)
    saved = begun_settings(work, lr=0.002)
    saved["model"]["class_path"] = "package.module.Model"
    (run.folder / "config.yaml").write_text(yaml.safe_dump(saved))
    refuse_other_settings(run)
    saved["model"]["init_args"]["lr"] = 0.003
    (run.folder / "config.yaml").write_text(yaml.safe_dump(saved))
    with pytest.raises(UserError, match=r"lr = 0\.003"):
        refuse_other_settings(run)
    saved["model"] = {"class_path": "package.Other", "init_args": {"lr": 0.002, "seed": 0}}
    (run.folder / "config.yaml").write_text(yaml.safe_dump(saved))
    with pytest.raises(UserError, match=r"package\.Other"):
        refuse_other_settings(run)


def test_processes_that_are_not_known_are_refused_before_training(work, trainings, undrawn, capsys):
    started, _ = trainings
    file = work / "configs" / "contrastive_broad.yaml"
    settings = yaml.safe_load(file.read_text())
    del settings["trainer"]["devices"]
    file.write_text(yaml.safe_dump(settings))
    assert emergence() == 2
    assert "with trainer.devices = 'auto'; give it as a number" in capsys.readouterr().err
    assert started == []
    settings["trainer"]["accelerator"] = "cpu"  # where automatic is one
    file.write_text(yaml.safe_dump(settings))
    assert emergence() == 0


def test_automatic_devices_are_one_process_where_a_run_was_on_the_cpu():
    config = {"trainer": {"devices": "auto", "accelerator": "auto"}, "data": {"init_args": {"batch_size": 32}}}
    assert images_per_step(config, "a", "cpu") == 32
    with pytest.raises(UserError, match="devices = 'auto'"):
        images_per_step(config, "a", "cuda:0")


@pytest.mark.parametrize(
    ("names", "log_age", "words"),
    [
        (["thesis.tex"], 0, "holds thesis.tex, which no run writes"),
        (["config.yaml", "thesis.tex"], 0, "holds thesis.tex"),
        (["config.yaml", "signatures.csv"], None, "another command began it"),
        (["config.yaml", "signatures.csv"], 3600, "another command began it"),  # the log is of an earlier one
    ],
)
def test_a_folder_that_this_command_did_not_begin_is_not_removed(work, trainings, names, log_age, words, capsys):
    started, _ = trainings
    folder = work / "checkpoints" / "contrastive_broad" / "001-seed0"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(yaml.safe_dump(begun_settings(work)))
    logs = work / "checkpoints" / "emergence" / "001" / "logs"
    if log_age is not None:
        logs.mkdir(parents=True)
        log = logs / "contrastive_broad-seed0.log"
        log.write_text("begun")
        os.utime(log, (time.time() - log_age,) * 2)
    assert emergence() == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert started == []
    (run,) = plan_runs([0], ["contrastive_broad"], work / "configs", "001")
    with pytest.raises(UserError, match="move it away"):
        run.discard_beginnings(logs / run.log)


def test_names_with_brackets_stand_in_the_bars_as_they_are(work, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    run = PlannedRun("[red]x", 0, work / "configs" / "contrastive_broad.yaml", "a-seed0")
    task = RunTask(run, work)
    task.log.write_text("")
    with TaskProgress(2, 0) as progress:
        progress.started(task)
        progress.look()
        progress._bars.refresh()
        progress.ended(task, None)
    assert "[red]x, seed 0: finished" in terminal.getvalue()
    assert terminal.getvalue().count("[red]x") > 1


def test_a_command_goes_on_where_there_is_a_checkpoint(work):
    (run,) = plan_runs([3], ["contrastive_broad"], work / "configs", "a")
    assert run.command()[1:6] == [
        "-m",
        "lightning_robust",
        "fit",
        "--config",
        str(work / "configs/contrastive_broad.yaml"),
    ]
    assert "--ckpt_path" not in run.command()
    (work / run.log).write_text("begun")
    run.folder.mkdir(parents=True)
    (run.folder / "signatures.csv").write_text("begun")
    run.discard_beginnings(work / run.log)
    assert not run.folder.exists()
    run.folder.mkdir(parents=True)
    (run.folder / "last.ckpt").write_text("a checkpoint")
    run.discard_beginnings(work / run.log)
    assert run.command()[-2:] == ["--ckpt_path", "last"]
    assert [run.command()[run.command().index(name) + 1] for name in ("--run_name", "--seed_everything")] == [
        "a-seed3",
        "3",
    ]


DRIVER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell started in the background
from pathlib import Path
from lightning_robust.cli import emergence as command_module
from lightning_robust.cli import emergence_training
from lightning_robust.cli.emergence_images import images_per_step
from lightning_robust.cli.emergence_plan import PlannedRun, plan_runs
from lightning_robust.cli.emergence_training import train_runs
wait = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
PlannedRun.command = lambda run: [sys.executable, "-c", wait, f"pid-{run.variant}"]
train_runs(plan_runs([0], None, Path("configs"), "a"), 2, Path("logs"))
"""


def pids(work, count=2, seconds=20.0):
    """Process ids of trainings, once they are there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = [path.read_text() for path in work.glob("pid-*")]
        if len([text for text in found if text]) == count:
            return [int(text) for text in found]
        time.sleep(0.05)
    raise AssertionError("the trainings did not start")


def gone(pid, seconds=20.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_takes_its_processes_along(work, number):
    runner = subprocess.Popen([sys.executable, "-c", DRIVER], stderr=subprocess.PIPE, text=True)
    children = pids(work)
    runner.send_signal(number)
    _, said = runner.communicate(timeout=30)
    assert "KeyboardInterrupt" in said
    assert all(gone(pid) for pid in children)


def test_what_an_earlier_command_still_trains_is_not_trained_twice(work, monkeypatch, capsys):
    runner = subprocess.Popen([sys.executable, "-c", DRIVER], stderr=subprocess.DEVNULL)
    children = pids(work)
    runner.kill()
    runner.wait()
    assert not gone(children[0], 0.2)
    started = []

    def command(run):
        started.append(time.monotonic())
        write_finished(run.folder, run.variant, run.seed)
        return [sys.executable, "-c", "pass"]

    monkeypatch.setattr(PlannedRun, "command", command)
    slept = time.sleep

    def end_the_first(seconds):
        assert started == []
        monkeypatch.setattr(time, "sleep", slept)
        for pid in children:
            os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(time, "sleep", end_the_first)
    assert train_runs(plan_runs([0], None, work / "configs", "a"), 2, work / "logs") == {}
    assert len(started) == 2
    assert "waiting for 2 runs" in capsys.readouterr().err


def test_no_more_than_so_many_at_a_time(work, monkeypatch):
    code = (
        "import os, sys, time; open(f'on-{os.getpid()}', 'w').close(); time.sleep(0.3); "
        "n = len([p for p in os.listdir() if p.startswith('on-')]); os.remove(f'on-{os.getpid()}'); "
        "open(f'saw-{os.getpid()}', 'w').write(str(n))"
    )
    monkeypatch.setattr(PlannedRun, "command", lambda run: [sys.executable, "-c", code])
    runs = plan_runs([0, 1], None, work / "configs", "a")
    failed = train_runs(runs, 1, work / "logs")
    assert len(failed) == 4  # they leave no results
    assert [path.read_text() for path in work.glob("saw-*")] == ["1"] * 4


def test_a_process_has_one_thread_and_no_run_folder_of_another(work, monkeypatch):
    monkeypatch.setenv("LIGHTNING_ROBUST_RUN_FOLDER", "elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    code = "import json, os; json.dump(dict(os.environ), open('env.json', 'w'))"
    monkeypatch.setattr(PlannedRun, "command", lambda run: [sys.executable, "-c", code])
    train_runs(plan_runs([0], ["contrastive_broad"], work / "configs", "a"), 1, work / "logs")
    found = json.loads((work / "env.json").read_text())
    assert found["OMP_NUM_THREADS"] == "1"
    assert "LIGHTNING_ROBUST_RUN_FOLDER" not in found
