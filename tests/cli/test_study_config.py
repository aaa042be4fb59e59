"""The file of a study: what a good one becomes, and one sentence for every mistake in a bad one."""

import re

import pytest
import yaml

from lightning_robust.cli.main import main
from lightning_robust.cli.study_config import read_study_config
from lightning_robust.cli.study_matrix import combinations, filled
from lightning_robust.cli.study_section import Section, strict_yaml
from lightning_robust.errors import UserError

GOOD = """
name: mine
data: scenes
baseline: scenes
concepts: scenes
seed: 3
measure: [probe, evaluate]
options: {evaluate: {batch_size: 64}}
models:
  - name: "{net}-{corpus}-{seed}"
    matrix:
      net: {rn: {encoder: scenes-clip, lr: 2.0e-3}, vit: {encoder: scenes-vit, lr: 1.0e-3}}
      corpus: [web, stock]
      seed: [0, 1]
    kind: zero-shot
    family: "{net}-{corpus}"
    labels: {backbone: "{net}", seed: "{seed}"}
    train:
      config: study/scenes_pretrain.yaml
      set:
        model.init_args.encoder: "{net.encoder}"
        model.init_args.lr: "{net.lr}"
        data.init_args.train_on: "{corpus}"
      seed: "{seed}"
    finetuned:
      config: study/scenes_finetune.yaml
      encoder: model.init_args.encoder
      seed: "{seed}"
      alphas: [1, 0.5]
  - {name: random, kind: random, model: "untrained:scenes-clip"}
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text, study=None):
        (tmp_path / "mine.yaml").write_text(text if isinstance(text, str) else yaml.safe_dump(text))
        return read_study_config("mine.yaml", study)

    return read


def changed(**changes):
    """The good file with another entry in place of its first one, or other top-level keys."""
    entry = changes.pop("entry", {})
    settings = {**yaml.safe_load(GOOD), **changes}
    settings["models"] = [{**settings["models"][0], **entry}, *settings["models"][1:]]
    settings["models"][0] = {key: value for key, value in settings["models"][0].items() if value is not None}
    return settings


def test_a_matrix_is_filled_in_and_the_last_variable_changes_first(read):
    study = read(GOOD)
    assert [model.name for model in study.models] == [
        "rn-web-0", "rn-web-1", "rn-stock-0", "rn-stock-1", "vit-web-0", "vit-web-1", "vit-stock-0", "vit-stock-1",
        "random",
    ]  # fmt: skip
    vit = study.models[5]
    assert (vit.kind, vit.family, vit.labels) == ("zero-shot", "vit-web", {"backbone": "vit", "seed": "1"})
    assert vit.train.overrides == {
        "model.init_args.encoder": "scenes-vit", "model.init_args.lr": 0.001, "data.init_args.train_on": "web",
    }  # fmt: skip
    assert (study.measure, study.seed, study.options) == (("evaluate", "probe"), 3, {"evaluate": {"batch_size": 64}})
    assert (study.models[-1].source(), study.models[-1].family) == ("untrained:scenes-clip", "random")


def test_runs_are_those_that_a_person_could_make_by_hand(read):
    vit = read(GOOD).models[5]
    arguments = vit.train.arguments()
    assert arguments[0] == "--config"
    assert arguments[1].endswith("study/scenes_pretrain.yaml")
    assert arguments[2:10] == [
        "--run_name", "mine-vit-web-1", "--seed_everything", "1", "--model.init_args.seed", "1",
        "--data.init_args.seed", "1",
    ]  # fmt: skip
    assert arguments[10:] == [
        "--model.init_args.encoder", "scenes-vit", "--model.init_args.lr", "0.001", "--data.init_args.train_on", "web",
    ]  # fmt: skip
    assert vit.source() == "local-dir:checkpoints/scenes_pretrain/mine-vit-web-1/clip"
    finetuned = vit.finetuned.training.arguments()
    # the module of finetuning has no seed of its own
    assert finetuned[2:] == [
        "--run_name", "mine-vit-web-1-finetuned", "--seed_everything", "1", "--data.init_args.seed", "1",
        "--model.init_args.encoder", vit.source(),
    ]  # fmt: skip
    settings = vit.finetuned.training.settings()
    assert (settings["seed_everything"], settings["data"]["init_args"]["seed"]) == (1, 1)
    assert settings["model"]["init_args"]["encoder"] == vit.source()
    assert settings["model"]["init_args"]["lr"] == 3e-4


def test_the_rows_of_a_model_are_itself_and_its_path(read):
    rows = read(GOOD).models[0].rows()
    assert [(row.name, row.model, row.kind, row.alpha) for row in rows] == [
        ("rn-web-0", "rn-web-0", "zero-shot", None),
        ("rn-web-0-finetuned, α = 0.5", "rn-web-0-finetuned", "interpolated", 0.5),
        ("rn-web-0-finetuned, α = 1", "rn-web-0-finetuned", "finetuned", 1.0),
    ]
    assert {row.family for row in rows} == {"rn-web"}
    folder = "checkpoints/scenes_finetune/mine-rn-web-0-finetuned/wise_ft"
    assert [row.source for row in rows[1:]] == [f"{folder}/alpha=0.50.safetensors", f"{folder}/alpha=1.00.safetensors"]


def test_another_name_gives_other_runs(read):
    study = read(GOOD, "second")
    assert study.name == "second"
    assert study.models[0].train.folder.as_posix() == "checkpoints/scenes_pretrain/second-rn-web-0"


def test_supervised_models_and_runs_without_an_export_are_named_as_evaluate_takes_them(read):
    entry = {"kind": "supervised", "finetuned": None, "train": {"config": "study/scenes_supervised", "seed": "{seed}"}}
    assert read(changed(entry=entry)).models[0].source() == "checkpoints/scenes_supervised/mine-rn-web-0/classifier"
    entry["train"] = {"config": "study/scenes_finetune"}
    assert read(changed(entry=entry)).models[0].source() == "checkpoints/scenes_finetune/mine-rn-web-0/last.ckpt"


def test_shards_share_the_models_and_only_chooses_among_them(read):
    study = read(GOOD)
    parts = [study.chosen(shard=(index, 4)) for index in (1, 2, 3, 4)]
    assert sorted(model.name for part in parts for model in part) == sorted(model.name for model in study.models)
    assert [len(part) for part in parts] == [3, 2, 2, 2]
    assert [model.name for model in study.chosen(["web", "random"], (1, 4))] == ["rn-web-0", "vit-web-0", "random"]


def test_yaml_merges_but_names_no_key_twice():
    assert strict_yaml("a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}")["c"] == {"x": 3, "y": 4}
    with pytest.raises(ValueError, match=r"'x' stands twice.*line 2"):
        strict_yaml("a:\n  {x: 1, x: 2}")


def test_a_text_that_is_one_variable_becomes_its_value():
    assert filled({"{a}": ["{a}", "{b.c}", "x{b.c}", "{00..09}", 7]}, {"a": "k", "b.c": 0.5}, "here") == {
        "k": ["k", 0.5, "x0.5", "{00..09}", 7]
    }
    assert list(combinations(Section({}, "nothing"))) == [{}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modles": []}, "mine.yaml has no key 'modles': did you mean 'models'?"),
        ({"data": 3}, "mine.yaml: data is a text, got 3"),
        ({"name": "a/b"}, "name becomes the name of a folder: at most 100 letters.*got 'a/b'"),
        ({"seed": -1}, "seed is a whole number from 0 to 2\\*\\*63 - 1, got -1"),
        ({"seed": True}, "seed is a whole number from 0"),
        ({"measure": []}, "measure is a list with at least one entry, got \\[\\]"),
        ({"measure": ["prune", "prune"]}, "measure names 'prune' twice"),
        ({"measure": ["evalute"]}, "no measurement 'evalute': did you mean 'evaluate'\\?"),
        ({"measure": ["evaluate"]}, "concepts: has no effect without probe"),
        ({"options": {"probes": {}}}, "mine.yaml.options has no key 'probes': did you mean 'probe'"),
        ({"options": {"probe": {"pol": "mean"}}}, "options.probe has no key 'pol': did you mean 'pool'"),
        ({"options": {"evaluate": {"data": "x"}}}, "options.evaluate has no key 'data'"),
        ({"trainer": {}}, "is a config of a training, which fit takes"),
        ({"entry": {"knd": "x"}}, "models\\[0\\] has no key 'knd': did you mean 'kind'"),
        ({"entry": {"kind": "zeroshot"}}, "no kind 'zeroshot': did you mean 'zero-shot'"),
        ({"entry": {"name": "{net}-{corpse}"}}, "models\\[0\\]: no variable {corpse}: did you mean 'corpus'"),
        ({"entry": {"name": "{net}"}}, "mine.yaml has two models named 'rn'"),
        ({"entry": {"matrix": {}}}, "models\\[0\\].matrix names nothing"),
        ({"entry": {"matrix": None}}, "no variable {net}: the entry has no matrix:"),
        ({"entry": {"matrix": {"net": {"rn": {"lr": 1}, "vit": {"rl": 1}}}}}, "net.vit has no key 'rl': there are lr"),
        ({"entry": {"matrix": {"net": [[1]]}}}, "matrix.net lists texts and numbers, got \\[1\\]"),
        ({"entry": {"model": "RN50/openai"}}, "has either model:, one that exists, or train:"),
        ({"entry": {"train": None}}, "has either model:, one that exists, or train:"),
        ({"entry": {"train": None, "model": "untrained:RN50"}}, "models of kind random are untrained:MODEL"),
        ({"entry": {"kind": "random"}}, "a random model is not trained"),
        ({"entry": {"kind": "supervised"}}, "only zero-shot models have a finetuned: part"),
        ({"entry": {"train": {"set": {}}}}, "train lacks config:"),
        ({"entry": {"train": {"config": "x", "set": {"seed_everything": 1}}}}, "cannot set seed_everything.*seed:"),
        ({"entry": {"train": {"config": "x", "set": {"--lr": 1}}}}, "takes dotted keys.*got '--lr'"),
        ({"entry": {"labels": {"a": [1]}}}, "labels gives each label a text, got 'a': \\[1\\]"),
        ({"entry": {"finetuned": {"config": "x", "encoder": "e", "alphas": [0, 1]}}}, "alphas lie in \\(0, 1].*got 0"),
        ({"entry": {"finetuned": {"config": "x", "encoder": "e", "alphas": [0.125]}}}, "in hundredths, got 0.125"),
        ({"entry": {"finetuned": {"config": "x", "encoder": "e", "alphas": ["1"]}}}, "alphas lie in .* got '1'"),
        (
            {"entry": {"finetuned": {"config": "x", "encoder": "a.b", "alphas": [1], "set": {"a.b": "RN50"}}}},
            "cannot set a.b, which the study sets itself \\(encoder: sets it\\)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_one_sentence(read, changes, said):
    with pytest.raises(UserError, match=said) as error:
        read(changed(**changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["rn-web-0-finetuned", "rn-web-0-finetuned-0.5", "rn-web-0-finetuned-1"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_name_of_a_counterpart_or_of_a_point_of_its_path_in_files_is_refused(read, name, place):
    settings = changed()
    settings["models"].insert(place, {"name": name, "kind": "zero-shot", "model": "RN50/openai"})
    with pytest.raises(UserError, match=f"two models named '{name}' .a counterpart is NAME-finetuned"):
        read(settings)
    settings["models"][place]["name"] = "rn-web-0-finetuned-0.3"
    assert len(read(settings).models) > 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "cannot read the study"),
        ("- a", "is a mapping of keys to values, got"),
        ("", "got nothing"),
        ("{name: a, data: scenes, measure: [prune], models: {}}", "models is a list with at least one entry, got {}"),
    ],
)
def test_what_is_no_study_is_refused(read, text, said):
    with pytest.raises(UserError, match=re.escape(said)):
        read(text)


def test_the_command_line_answers_with_status_2_and_without_a_traceback(read, capsys):
    read(GOOD)
    for words, said in (
        (["--config", "nowhere"], "there is no config 'nowhere'"),
        (["--config", "mine.yaml", "--shard", "3/2"], "'3/2' is no shard: I/N, as in 2/4"),
        (["--config", "mine.yaml", "--only", "nobody"], "no model of mine.yaml is chosen"),
        (["--config", "mine.yaml", "--run_name", "a b"], "--run_name: name becomes the name of a folder"),
        (["--config", "study/scenes_pretrain"], "is a config of a training, which fit takes"),
    ):
        assert main(["study", *words]) == 2
        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.err.count("\n") == 1


def test_the_study_of_the_scenes_world_is_as_its_first_line_says():
    study = read_study_config("study/scenes")
    clips = [model for model in study.models if model.kind == "zero-shot"]
    assert len(clips) == 29
    assert all(model.finetuned is not None for model in clips)
    trained = {(m.labels["backbone"], m.labels["corpus"], m.labels["seed"]) for m in clips if m.train is not None}
    corpora = ("diverse", "web", "snapshots", "stock")
    assert trained == {
        *((net, corpus, seed) for net in ("rn", "vit") for corpus in corpora for seed in ("0", "1", "2")),
        *((net, "reference", seed) for net in ("rn", "vit") for seed in ("0", "1")),
    }  # fmt: skip
    assert [m.model for m in clips if m.train is None] == ["scenes-clip"]
    assert len({model.family for model in clips}) == 29
    kinds = [(model.kind, model.labels["backbone"], model.labels.get("seed")) for model in study.models]
    assert {("supervised", net, seed) for net in ("rn", "vit") for seed in "01"} <= set(kinds)
    assert {("random", net, None) for net in ("rn", "vit")} <= set(kinds)
    seeds = [model.labels.get("seed", "0") for model in study.models]
    assert seeds == sorted(seeds)  # an early stop leaves a whole smaller study
    by_name = {model.name: model for model in study.models}
    vit = by_name["vit-web-1"].train
    assert vit.overrides["model.init_args.encoder"] == "scenes-vit"
    assert vit.overrides["trainer.max_epochs"] == 20
    assert vit.settings()["model"]["init_args"]["lr"] == 0.001
