"""`study`: what is trained, measured, skipped, measured again and tabled; stand-ins take the place of torch."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import study_program
import study_stand_in
import yaml
from pyarrow import parquet

from lightning_robust.cli import study_context, study_plan, study_run
from lightning_robust.cli.main import main
from lightning_robust.results.study_record import read_study

ALL = ["evaluate", "probe", "prune"]
PATH = [0.5, 1.0]


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEHAVIOUR", str(tmp_path / "behaviour"))
    monkeypatch.setenv("PYTHONPATH", str(Path(study_stand_in.__file__).parent))
    (tmp_path / "behaviour").mkdir()
    study_program.install(monkeypatch.setattr)
    config = {
        "trainer": {"max_epochs": 2},
        "model": {"class_path": "ContrastivePretraining", "init_args": {"lr": 0.002, "seed": 0, "export_to": "clip"}},
        "data": {"class_path": "Data", "init_args": {"train_on": "web"}},
    }
    (tmp_path / "pretrain.yaml").write_text(yaml.safe_dump(config))
    config["model"] = {"class_path": "ClassifierFinetuning", "init_args": {"encoder": "x"}}
    (tmp_path / "finetune.yaml").write_text(yaml.safe_dump(config))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(f"weights of {name}")
    return tmp_path


def write_config(work, **changes):
    """Two models that exist, and a trained one with its finetuned counterpart."""
    settings = {
        "name": "s", "data": "made-up", "measure": ALL,
        "models": [
            {"name": "a", "kind": "supervised", "model": "a", "labels": {"backbone": "rn"}},
            {"name": "u", "kind": "random", "model": "untrained:scenes-clip"},
            {
                "name": "t", "kind": "zero-shot", "labels": {"corpus": "web"},
                "train": {"config": "pretrain.yaml", "seed": 3, "set": {"data.init_args.train_on": "stock"}},
                "finetuned": {"config": "finetune.yaml", "encoder": "model.init_args.encoder", "alphas": PATH},
            },
        ],
    }  # fmt: skip
    (work / "study.yaml").write_text(yaml.safe_dump({**settings, **changes}))


ROWS = ["a", "u", "t", "t-finetuned, α = 0.5", "t-finetuned, α = 1"]


def study(*arguments):
    return main(["study", "--config", "study.yaml", *arguments])


def record(work, name="s"):
    return read_study(work / "checkpoints" / "study" / name / "study.json")


def measured(work):
    """What was measured, in order, each as often as it was."""
    file = work / "behaviour" / "measured.txt"
    return file.read_text().splitlines() if file.exists() else []


def trained(work):
    file = work / "behaviour" / "trained.txt"
    return file.read_text().splitlines() if file.exists() else []


def fail(work, what, how="refuse"):
    (work / "behaviour" / what).write_text(how)


def same(one, other):
    """Figures that are equal to the last bit, NaN like NaN."""
    return one.keys() == other.keys() and all(
        one[tag] == other[tag] or (math.isnan(one[tag]) and math.isnan(other[tag])) for tag in one
    )


def test_everything_is_trained_and_measured_once_and_tabled(work, capsys):
    write_config(work)
    assert study() == 0
    assert trained(work) == ["t", "t-finetuned"]
    expected = {f"{name}|{row}" for row in ROWS for name in ALL if name != "prune" or row not in (ROWS[1], ROWS[3])}
    assert set(measured(work)) == expected
    assert len(measured(work)) == len(expected)
    found = record(work)
    assert [row.name for row in found.rows] == ROWS
    assert [row.kind for row in found.rows] == ["supervised", "random", "zero-shot", "interpolated", "finetuned"]
    assert [row.alpha for row in found.rows] == [None, None, None, 0.5, 1.0]
    assert [row.family for row in found.rows] == ["a", "u", "t", "t", "t"]
    assert found.failures == ()
    assert found.shifts == ("sketch", "art")
    assert found.baseline == "lines"
    assert found.seeds == {"intervals, draws and random weights": 0, "training of t": 3}
    assert "accuracy: top-1" in found.conventions
    assert not any(line.startswith("layers: ") for line in found.conventions)
    said = capsys.readouterr().err
    assert "t, training: finished" in said
    assert "t, measuring: finished" in said


def test_figures_are_those_of_the_records_under_canonical_tags(work):
    write_config(work)
    assert study() == 0
    for row, source in zip(record(work).rows[:1], ["a"], strict=True):

        def n(name, source=source):
            return study_stand_in.number(source, name)

        assert row.figures["accuracy/sketch"] == int(n("sketch") * 1000) / 1000
        assert row.figures["accuracy/shifts"] == (int(n("sketch") * 1000) / 1000 + int(n("art") * 1000) / 1000) / 2
        assert row.figures["er/art"] == n("er art") - 0.5
        assert row.figures["er/mean"] == n("er mean") - 0.5
        assert row.figures["er/mean/low"] == row.figures["er/mean"] - 0.01
        assert row.figures["er/mean/prediction_high"] == row.figures["er/mean"] + 0.1
        assert row.figures["er/extrapolated"] == 0.0
        assert row.figures["kurtosis/last"] == n("k4")
        assert row.figures["kurtosis/h"] == n("kh")
        assert math.isnan(row.figures["outliers/h"])
        fraction = n("prune importance raw reference 0")
        assert row.figures["prune/reference/fraction"] == fraction
        assert row.figures["prune/reference/fraction/low"] == fraction / 2
        assert row.figures["prune/shifts/fraction"] == n("prune importance raw shifts 0")
        assert row.figures["prune/centred/reference/fraction"] == n("prune importance centred reference 0")
        draws = [n(f"prune random raw reference {k}") for k in range(2)]
        assert row.figures["prune/random/reference/fraction"] == sum(draws) / 2
        assert row.seconds == {"evaluate": 1.0, "probe": 2.0, "prune": 3.0}


def test_the_table_is_the_same_in_all_files(work):
    write_config(work)
    assert study() == 0
    folder, found = work / "checkpoints" / "study" / "s", record(work)
    with (folder / "study.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    table = parquet.read_table(folder / "study.parquet").to_pylist()
    assert [line["name"] for line in lines] == [line["name"] for line in table] == ROWS
    assert list(lines[0]) == list(table[0])
    for row, line, cells in zip(found.rows, lines, table, strict=True):
        assert (cells["label/corpus"], cells["label/backbone"]) == (
            row.labels.get("corpus"),
            row.labels.get("backbone"),
        )
        assert (line["kind"], cells["alpha"]) == (row.kind, row.alpha)
        assert cells["checkpoint_hash"] == row.checkpoint_hash
        figures = {tag: cells[tag] for tag in row.figures}
        assert same(figures, dict(row.figures))
        assert same({tag: float(line[tag]) for tag in row.figures}, dict(row.figures))
        assert (cells["prune/reference/fraction"] is None) == (row.kind in ("random", "interpolated"))


def test_what_is_done_is_skipped(work, capsys):
    write_config(work)
    assert study() == 0
    first, before = measured(work), record(work)
    assert study() == 0
    assert measured(work) == first
    assert trained(work) == ["t", "t-finetuned"]
    assert "5 of 5 steps are finished already" in capsys.readouterr().err
    assert all(same(one.figures, two.figures) for one, two in zip(before.rows, record(work).rows, strict=True))


def test_changed_weights_are_measured_again_and_the_old_kept(work):
    write_config(work)
    assert study() == 0
    folder = work / "checkpoints" / "study" / "s" / "measured"
    old, first = {path.name for path in folder.iterdir()}, len(measured(work))
    before = record(work).rows
    (work / "a" / "model.safetensors").write_text("other weights")
    assert study() == 0
    assert measured(work)[first:] == [f"{name}|a" for name in ALL]
    new = {path.name for path in folder.iterdir()}
    assert old < new
    assert len(new - old) == 3
    after = record(work).rows
    assert after[0].checkpoint_hash != before[0].checkpoint_hash
    assert after[0].figures["er/mean"] != before[0].figures["er/mean"]
    assert all(same(one.figures, two.figures) for one, two in zip(before[1:], after[1:], strict=True))


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"options": {"probe": {"max_images": 10}}}, {"probe"}),
        ({"options": {"prune": {"points": 2}}}, {"prune"}),
        ({"data": "other"}, set(ALL)),
        ({"seed": 1}, set(ALL)),
        ({"concepts": "scenes"}, {"probe"}),
        ({"models": [{"name": "a", "kind": "supervised", "model": "a", "labels": {"backbone": "vit"}}]}, set()),
    ],
)
def test_what_figures_depend_on_makes_another_key(work, changes, again):
    one = [{"name": "a", "kind": "supervised", "model": "a"}]
    write_config(work, models=one)
    assert study() == 0
    first = len(measured(work))
    write_config(work, **{"models": one, **changes})
    assert study() == 0
    assert {line.split("|")[0] for line in measured(work)[first:]} == again


def test_a_record_that_was_taken_away_is_measured_again(work):
    write_config(work)
    assert study("--only", "a") == 0
    (key,) = (work / "checkpoints" / "study" / "s" / "measured").glob("a-probe-*")
    (key / "results.json").unlink()
    assert study("--only", "a") == 0
    assert measured(work).count("probe|a") == 2
    assert (key / "results.json").is_file()


@pytest.mark.parametrize("text", ["{", "{}", '{"seconds": "long"}'])
def test_a_damaged_note_of_a_record_is_told_of(work, text, capsys):
    write_config(work, models=[{"name": "a", "kind": "supervised", "model": "a"}], measure=["probe"])
    assert study() == 0
    (key,) = (work / "checkpoints" / "study" / "s" / "measured").glob("a-probe-*")
    (key / "step.json").write_text(text)
    capsys.readouterr()
    assert study("--report_only") == 2
    assert f"step.json does not say how long it took: remove {key}" in capsys.readouterr().err


def test_a_newer_version_of_a_measurement_measures_again(work, monkeypatch):
    write_config(work, models=[{"name": "a", "kind": "supervised", "model": "a"}])
    assert study("--jobs", "1") == 0
    folder = work / "checkpoints" / "study" / "s" / "measured"
    (key,) = folder.glob("a-probe-*")
    described = json.loads((key / "step.json").read_text())
    assert described["version"] == study_context.MEASUREMENT_VERSIONS["probe"]
    monkeypatch.setitem(study_context.MEASUREMENT_VERSIONS, "probe", described["version"] + 1)
    assert study("--report_only") == 0
    assert set(record(work).rows[0].seconds) == {"evaluate", "prune"}


def test_a_step_that_fails_is_told_of_and_tried_again(work, capsys):
    write_config(work)
    fail(work, "probe-a")
    assert study() == 1
    found = record(work)
    assert [row.name for row in found.rows] == ROWS
    assert [(one.model, one.step) for one in found.failures] == [("a", "probe")]
    assert found.failures[0].reason == "a: a cannot be had"
    assert set(found.rows[0].seconds) == {"evaluate", "prune"}
    said = capsys.readouterr().err
    assert "a, measuring failed: probe of a: a cannot be had" in said
    assert "Not measured: probe of a" in said
    (work / "behaviour" / "probe-a").unlink()
    first = len(measured(work))
    assert study() == 0
    assert measured(work)[first:] == ["probe|a"]
    assert record(work).failures == ()


def test_one_point_of_a_path_that_fails_does_not_take_the_others_along(work):
    write_config(work)
    fail(work, f"evaluate-{ROWS[3]}")
    assert study() == 1
    found = record(work)
    assert [(one.model, one.step) for one in found.failures] == [("t-finetuned", "evaluate")]
    assert ["evaluate" in row.seconds for row in found.rows] == [True, True, True, False, True]


def test_a_process_that_dies_costs_the_step_that_it_was_at(work):
    write_config(work)
    fail(work, "probe-u", "die")
    fail(work, "evaluate-a", "die")
    assert study() == 1
    found = record(work)
    assert {(one.model, one.step) for one in found.failures} == {("a", "evaluate"), ("u", "probe")}
    assert all("signal 9" in one.reason for one in found.failures)
    assert set(found.rows[0].seconds) == {"probe", "prune"}
    assert set(found.rows[1].seconds) == {"evaluate"}


@pytest.mark.parametrize(("who", "rows"), [("t", ROWS[:2]), ("t-finetuned", ROWS[:3])])
def test_a_training_that_fails_leaves_the_rest(work, who, rows, capsys):
    write_config(work)
    fail(work, f"train-{who}")
    assert study() == 1
    found = record(work)
    assert [row.name for row in found.rows] == rows
    failures = {(one.model, one.step): one.reason for one in found.failures}
    assert "out of luck" in failures[who, "train"]
    if who == "t":
        assert "t, training failed" in failures["t-finetuned", "train"]
    (work / "behaviour" / f"train-{who}").unlink()
    assert study() == 0
    assert [row.name for row in record(work).rows] == ROWS
    assert record(work).failures == ()


def saved_config(work, **data):
    settings = yaml.safe_load((work / "pretrain.yaml").read_text())
    settings["seed_everything"] = settings["model"]["init_args"]["seed"] = 3
    settings["data"]["init_args"] |= {"train_on": "stock", "added": "a default", **data}
    return settings


def test_a_finetuned_model_of_other_weights_than_its_parent_has_now_is_refused(work, capsys):
    write_config(work)
    assert study() == 0
    assert study("--report_only") == 0
    capsys.readouterr()
    (work / "checkpoints" / "pretrain" / "s-t" / "clip" / "open_clip_model.safetensors").write_text("new")
    assert study() == 2
    said = capsys.readouterr().err
    assert "s-t-finetuned was begun with other weights than local-dir:checkpoints/pretrain/s-t/clip has now" in said
    shutil.rmtree(work / "checkpoints" / "finetune" / "s-t-finetuned")
    assert study() == 0
    assert trained(work) == ["t", "t-finetuned", "t-finetuned"]


def test_a_run_that_was_made_by_hand_is_recognised(work):
    write_config(work)
    folder = work / "checkpoints" / "pretrain" / "s-t"
    subprocess.run([sys.executable, "-c", study_program.TRAIN, str(folder), "by hand"], check=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(saved_config(work)))
    assert study() == 0
    assert trained(work) == ["by hand", "t-finetuned"]
    assert [row.name for row in record(work).rows] == ROWS


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_a_training_by_hand_is_waited_for(work, capsys):
    write_config(work)
    folder = work / "checkpoints" / "pretrain" / "s-t"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(saved_config(work)))
    code = f"import time; time.sleep(3)\n{study_program.TRAIN}"
    by_hand = subprocess.Popen([sys.executable, "-c", code, str(folder), "by hand", "fit", "--run_name", "s-t"])
    assert study() == 0
    assert by_hand.wait() == 0
    assert trained(work) == ["by hand", "t-finetuned"]
    assert "waiting for" in capsys.readouterr().err


def test_a_run_that_was_killed_before_its_config_was_written_is_begun_again(work):
    write_config(work)
    fail(work, "train-t")
    assert study() == 1  # which leaves a log of this command
    folder = work / "checkpoints" / "pretrain" / "s-t"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("")
    (work / "behaviour" / "train-t").unlink()
    assert study() == 0
    assert [row.name for row in record(work).rows] == ROWS


@pytest.mark.parametrize("arguments", [[], ["--report_only"]])
def test_a_run_with_other_settings_is_refused_before_anything_is_done(work, arguments, capsys):
    write_config(work)
    folder = work / "checkpoints" / "pretrain" / "s-t"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(saved_config(work, train_on="web")))
    (folder / "results.json").write_text("{}")
    assert study(*arguments) == 2
    said = capsys.readouterr().err
    assert "data.init_args.train_on = 'web', and its config has 'stock' now" in said
    assert said.count("\n") == 1
    assert measured(work) == []
    assert study("--only", "u") == 0  # a model without that run


def test_all_runs_in_the_way_are_told_of_at_once(work, capsys, monkeypatch):
    monkeypatch.setattr(study_plan, "open_context", study_stand_in.open_stand_in)
    write_config(work, models=[
        {
            "name": name, "kind": "zero-shot", "train": {"config": "pretrain.yaml"},
            "finetuned": {"config": "finetune.yaml", "encoder": "model.init_args.encoder", "alphas": PATH},
        }
        for name in ("t", "v", "w")
    ])  # fmt: skip
    assert study("--only", "w") == 0
    (work / "checkpoints" / "pretrain" / "s-w" / "clip" / "open_clip_model.safetensors").write_text("new")
    by_hand, other = (work / "checkpoints" / "pretrain" / f"s-{name}" for name in ("t", "v"))
    for folder, settings in ((by_hand, (work / "pretrain.yaml").read_text()), (other, "model: {class_path: X}")):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(settings)
    capsys.readouterr()
    assert study() == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "3 runs are in the way: " in said
    assert "s-t has no checkpoint to go on from, and another command began it: remove it, or move it away" in said
    assert "s-v was begun with " in said
    assert "s-w-finetuned was begun with other weights" in said
    assert study("--plan") == 1
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for words in ("broken off to do 0/8", "begun otherwise to do 0/8", "missing begun otherwise 5/8"):
        assert sum(words in line for line in lines) == 1
    assert "s-t has no checkpoint" in out
    assert "s-v was begun with" in out
    assert "s-w-finetuned was begun with other weights" in out


def test_a_run_that_was_broken_off_does_not_keep_others_from_the_table(work, capsys):
    write_config(work)
    assert study("--only", "a") == 0
    (work / "checkpoints" / "pretrain" / "s-t").mkdir(parents=True)
    (work / "checkpoints" / "pretrain" / "s-t" / "config.yaml").write_text(yaml.safe_dump(saved_config(work)))
    assert study("--report_only") == 0
    assert study() == 2
    assert "another command began it" in capsys.readouterr().err


def test_a_finetuned_model_is_not_measured_once_its_parent_was_trained_anew_to_other_weights(work):
    write_config(work)
    assert study() == 0
    first = measured(work)
    shutil.rmtree(work / "checkpoints" / "pretrain" / "s-t")
    (work / "behaviour" / "weights").write_text("other")
    assert study() == 1
    assert trained(work) == ["t", "t-finetuned", "t"]
    assert measured(work) == first


def test_a_file_that_is_edited_meanwhile_changes_nothing(work, monkeypatch):
    write_config(work)
    run_tasks = study_run.run_tasks

    def edited(*arguments):
        write_config(work, data="other", models=[])
        return run_tasks(*arguments)

    monkeypatch.setattr(study_run, "run_tasks", edited)
    assert study() == 0
    assert [row.name for row in record(work).rows] == ROWS
    assert record(work).failures == ()


def test_report_only_measures_nothing(work, capsys):
    write_config(work)
    assert study("--report_only") == 2
    assert "nothing of the study 's' is measured" in capsys.readouterr().err
    assert not (work / "checkpoints").exists()
    assert study("--only", "a") == 0
    first = measured(work)
    assert study("--report_only") == 0
    assert measured(work) == first
    assert [row.name for row in record(work).rows] == ["a"]
    said = capsys.readouterr().err
    assert "Not measured: 10 of 13 steps, of u, t; --plan lists them by model." in said


def test_nothing_chosen_is_refused(work, capsys):
    write_config(work)
    assert study("--only", "z") == 2
    assert "no model of study.yaml is chosen" in capsys.readouterr().err


def test_where_everything_fails_there_is_no_table(work):
    write_config(work, models=[{"name": "a", "kind": "supervised", "model": "a"}], measure=["probe"])
    fail(work, "probe-a")
    assert study() == 1
    assert not (work / "checkpoints" / "study" / "s" / "study.json").exists()


def program(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, study_program.__file__, "study", "--config", "study.yaml", *arguments],
        env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def test_two_shards_at_once_give_the_table_of_one_process(work):
    write_config(work)
    assert study("--run_name", "alone") == 0
    (work / "behaviour" / "measured.txt").unlink()
    shards = [program("--shard", f"{k}/2", MOMENT="0.05") for k in (1, 2)]
    assert [shard.communicate(timeout=300) and shard.returncode for shard in shards] == [0, 0]
    assert len(measured(work)) == len(set(measured(work)))
    assert study("--report_only") == 0
    one, two = record(work, "alone"), record(work)
    assert [row.name for row in two.rows] == ROWS
    # trained anew under another study's name, the stand-in's weights are the same
    assert all(same(a.figures, b.figures) for a, b in zip(one.rows, two.rows, strict=True))


def test_two_commands_on_the_same_models_do_no_step_twice(work):
    write_config(work)
    both = [program(MOMENT="0.05") for _ in range(2)]
    assert [one.communicate(timeout=300) and one.returncode for one in both] == [0, 0]
    assert len(measured(work)) == len(set(measured(work)))
    assert trained(work) == ["t", "t-finetuned"]
    assert [row.name for row in record(work).rows] == ROWS


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_the_processes_of_a_command_that_was_killed_alone_go_on_and_are_waited_for(work):
    write_config(work)
    alone = program(MOMENT="0.5")
    until = time.monotonic() + 60
    while not (orphans := children(alone.pid)) and time.monotonic() < until:
        time.sleep(0.01)
    alone.kill()
    alone.communicate()
    assert orphans
    assert study() == 0
    assert len(measured(work)) == len(set(measured(work))) == 13
    assert trained(work) == ["t", "t-finetuned"]
    assert record(work).failures == ()


def children(pid):
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def killed(runner, seconds):
    """Kill a command and what it started, outright; whether it was still at it."""
    time.sleep(seconds)
    busy = runner.poll() is None
    for pid in (*children(runner.pid), runner.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    runner.communicate()
    return busy


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_killed_again_and_again_it_ends_with_the_figures_of_an_unbroken_study(work):
    write_config(work)
    assert study("--run_name", "unbroken") == 0
    whole = record(work, "unbroken")
    folder, kills = work / "checkpoints" / "study" / "s", 0
    for _ in range(40):  # each time it is killed once something more is there
        before = len(list(folder.glob("measured/[!.]*"))) + len(trained(work))
        runner = program(MOMENT="0.2")
        while runner.poll() is None and len(list(folder.glob("measured/[!.]*"))) + len(trained(work)) == before:
            time.sleep(0.01)
        kills += killed(runner, 0.03 * (kills % 4))
        if len(list(folder.glob("measured/[!.]*"))) >= 13:
            break
    assert kills >= 5
    assert study() == 0
    assert all(same(a.figures, b.figures) for a, b in zip(whole.rows, record(work).rows, strict=True))
    assert not list(folder.glob("measured/.*"))
