"""Steps of a study: which rows get which, and what tells two weights apart."""

import pytest
import study_stand_in
import yaml

from lightning_robust.cli import study_worker
from lightning_robust.cli.study_config import read_study_config
from lightning_robust.cli.study_failures import clear_failures, failure_of, failures_in, note_failure
from lightning_robust.cli.study_steps import steps_of
from lightning_robust.cli.study_weights import weights_digest, weights_files
from lightning_robust.cli.study_worker import measure_model
from lightning_robust.errors import UserError
from lightning_robust.results.study_record import StudyFailure


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(work, measure=("evaluate", "probe", "prune"), **changes):
    models = [
        {"name": "a", "kind": "supervised", "model": "a"},
        {"name": "u", "kind": "random", "model": "untrained:a"},
    ]
    settings = {"name": "s", "data": "made-up", "measure": list(measure), "models": models, **changes}
    (work / "study.yaml").write_text(yaml.safe_dump(settings))
    return study_stand_in.open_stand_in(read_study_config("study.yaml"))


def keys(study, work):
    return {
        (step.row.name, step.measurement): step.folder.name
        for model in study.config.models
        for step in steps_of(model, study, work)
    }


def test_a_key_names_row_and_measurement_and_follows_bytes_not_places(work):
    for name in ("a", "b"):
        (work / name).mkdir()
        (work / name / "model.safetensors").write_text("same bytes")
    found = keys(opened(work), work)
    assert set(found) == {("a", "evaluate"), ("a", "probe"), ("a", "prune"), ("u", "evaluate"), ("u", "probe")}
    assert all(key.startswith(f"{row}-{name}-") and len(key) == len(f"{row}-{name}-") + 12
               for (row, name), key in found.items())  # fmt: skip
    assert len({key.rpartition("-")[2] for key in found.values()}) == 5
    moved = keys(opened(work, models=[{"name": "a", "kind": "supervised", "model": "b"}]), work)
    assert moved["a", "probe"] == found["a", "probe"]
    (work / "a" / "model.safetensors").write_text("other bytes")
    changed = keys(opened(work), work)
    assert {name for name in found if changed[name] != found[name]} == {name for name in found if name[0] == "a"}


def test_a_model_is_told_by_its_weights_and_not_by_its_card(work):
    folder = work / "clip"
    folder.mkdir()
    (folder / "open_clip_model.safetensors").write_text("weights")
    (folder / "open_clip_config.json").write_text("{}")
    first = weights_digest(f"local-dir:{folder}")
    (folder / "README.md").write_text("a card")
    assert weights_digest(f"local-dir:{folder}") == first
    (folder / "open_clip_config.json").write_text('{"a": 1}')
    assert weights_digest(f"local-dir:{folder}") != first


def test_a_file_is_measured_again_as_another_architecture(work):
    (work / "a.pt").write_text("weights")
    names = ("RN50@a.pt", "RN50-quickgelu@a.pt")
    first, second = (
        keys(opened(work, models=[{"name": "a", "kind": "zero-shot", "model": name}]), work) for name in names
    )
    assert all(first[step] != second[step] for step in first)


def test_folders_of_the_home_and_of_transformers_are_told_by_their_bytes(work, monkeypatch):
    monkeypatch.setenv("HOME", str(work))
    (work / "clip").mkdir()
    (work / "clip" / "model.safetensors").write_text("weights")
    names = ("local-dir:~/clip", "transformers:clip", "transformers:~/clip", "RN50@~/clip/model.safetensors")
    assert all(weights_files(name) for name in names)


def test_files_of_a_path_an_architecture_and_what_ships(work):
    for name in ("alpha=0.50.safetensors", "alpha=0.50.head.safetensors", "rn50.pt"):
        (work / name).write_text(name)
    assert [file.name for file in weights_files("alpha=0.50.safetensors")] == [
        "alpha=0.50.head.safetensors",
        "alpha=0.50.safetensors",
    ]
    assert [file.name for file in weights_files(f"RN50@{work / 'rn50.pt'}")] == ["rn50.pt"]
    assert [file.name for file in weights_files("scenes-supervised")] == ["model.safetensors"]
    assert "open_clip_model.safetensors" in [file.name for file in weights_files("scenes-clip")]
    for name in ("RN50/openai", "untrained:RN50", "timm:resnet50", "RN50@nowhere.pt", "hub:x/y"):
        assert weights_files(name) == []
        assert weights_digest(name) is None


def test_weights_that_are_changed_while_they_are_measured_are_not_kept(work, monkeypatch):
    (work / "a").mkdir()
    (work / "a" / "model.safetensors").write_text("weights")
    study = opened(work, measure=["probe"])

    def changing(context, rows):
        (work / "a" / "model.safetensors").write_text("other weights")
        yield rows[0], None, 1.0

    monkeypatch.setitem(study_worker.MEASURES, "probe", changing)
    measure_model(study.config.models[0], study, work)
    assert failure_of(work, "a", "probe").reason == "a: the weights of a were changed while they were measured"
    assert not (work / "measured").exists()


def test_options_reach_the_command_as_typed(work):
    study = opened(work, options={"prune": {"points": 2, "seeds": 3}, "probe": {"layers": ["a", "b"], "max_images": 9}},
                   baseline="none", concepts="scenes", seed=4)  # fmt: skip
    prune = study.arguments("prune", ["x", "y"])
    assert (prune.model, prune.points, prune.seeds, prune.supervised) == (["x", "y"], 2.0, 3, "none")
    assert (prune.data, prune.baseline, prune.seed) == ("made-up", "none", 4)
    probe = study.arguments("probe", ["x"])
    assert (probe.model, probe.layers, probe.max_images, probe.concepts, probe.seed) == (
        "x",
        ["a", "b"],
        9,
        "scenes",
        4,
    )
    assert study.arguments("evaluate", ["x"]).split == "test"


def test_an_option_that_the_command_does_not_take_is_refused(work):
    study = opened(work, options={"prune": {"points": "many"}})
    with pytest.raises(UserError, match=r"options\.prune of study\.yaml.*many"):
        study.arguments("prune", ["x"])


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("the last lines of {here}/checkpoints/study/s/a.log:", "the last lines of checkpoints/study/s/a.log:"),
        ("No folder '{here}/data', nor local-dir:{here}/.b", "No folder 'data', nor local-dir:.b"),
        ("no file in the working directory {here}.", "no file in the working directory .."),
        ('File "{home}/venv/x.py" of {home}, not {home}2/x', 'File "~/venv/x.py" of ~, not {home}2/x'),
        ("{here}-2/x and /mnt{here}/x and https://x/y / z", "~/work-2/x and /mnt{here}/x and https://x/y / z"),
    ],
)
def test_a_reason_that_is_kept_names_no_place_of_this_machine(work, monkeypatch, said, kept):
    here = work / "work"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(work))
    said, kept = (text.format(here=here, home=work) for text in (said, kept))
    note_failure(here, "a", StudyFailure(model="a", step="probe", reason=said))
    assert failure_of(here, "a", "probe").reason == kept


def test_a_reason_is_kept_as_it_is_where_everything_lies_below(work, monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/")
    note_failure(work, "a", StudyFailure(model="a", step="probe", reason="https://x/y, /a/b and / alone"))
    assert failure_of(work, "a", "probe").reason == "https://x/y, /a/b and / alone"


def test_failures_are_kept_by_row_and_step_until_they_are_cleared(work):
    failure = StudyFailure(model="a", step="probe", reason="“quoted”\ntwo lines")
    note_failure(work, "a", failure)
    assert failure_of(work, "a", "probe") == failure
    assert failure_of(work, "a", "prune") is None
    assert list(failures_in(work, [("a", "evaluate"), ("a", "probe")])) == [failure]
    (work / "failures" / "a-probe.json").write_text("{")
    assert failure_of(work, "a", "probe") is None
    clear_failures(work, [("a", "probe"), ("b", "probe")])
    assert list((work / "failures").iterdir()) == []
