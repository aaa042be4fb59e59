"""`study --plan`: what is here and what is missing, told without loading; the paper's zoo against the facts."""

import json
from pathlib import Path

import open_clip
import pytest
import timm
import yaml
from huggingface_hub import constants

from lightning_robust.cli.main import main
from lightning_robust.cli.study_config import read_study_config
from lightning_robust.cli.study_context import open_context
from lightning_robust.cli.study_hours import training_work
from lightning_robust.cli.study_missing import missing_of_model, missing_of_study
from lightning_robust.cli.study_models import FinetunedPart, StudyModel, StudyTraining
from lightning_robust.cli.study_plan import plan_study
from lightning_robust.cli.study_steps import steps_of, study_folder
from lightning_robust.models import load_encoder, write_clip_folder
from lightning_robust.models.architecture_cost import architecture_cost
from lightning_robust.models.checkpoint_files import save_tensors

FACTS = Path(__file__).parents[3] / "shared" / "data" / "facts" / "open_clip_zoo.json"
PAPER = {"RN50", "RN101", "ViT-B-16", "ViT-B-32", "ViT-L-14"}
NOWHERE = Path("nowhere")  # a study's folder in which nothing is noted
COMMIT = 40 * "a"
CORPORA = {"openai", "yfcc15m", "cc12m", "laion400m", "laion2b", "datacomp_xl"}


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """An empty folder, and a cache of the Hub in which nothing lies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def tiny(work):
    """A CLIP of a few thousand random weights in open_clip's form."""
    write_clip_folder(
        work / "tiny", ["star", "heart"], embed_dim=16, vision_width=4, vision_head_width=32, text_width=16
    )
    state = load_encoder(f"local-dir:{work / 'tiny'}", pretrained=False).model.state_dict()
    save_tensors(work / "tiny" / "open_clip_model.safetensors", state)
    return work / "tiny"


def study(*models, **changes):
    """The file of a study of the scenes world."""
    settings = {"name": "mine", "data": "scenes", "measure": ["evaluate", "prune"], "models": list(models), **changes}
    Path("mine.yaml").write_text(yaml.safe_dump(settings))
    return read_study_config("mine.yaml")


def one(name, model, kind="zero-shot", **more):
    return {"name": name, "kind": kind, "model": model, **more}


def planned(config):
    return plan_study(config, config.models, study_folder(config.name))


def in_the_cache(hub, repository, files):
    """What a download from the Hub leaves behind."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    for name, content in files.items():
        (folder / "snapshots" / COMMIT / name).write_bytes(content)


def tagged():
    """Pairs of backbone and corpus that have weights, with the name that loads them rightly and their repository."""
    if not FACTS.is_file():
        pytest.skip("the facts about open_clip's zoo are not here")
    rows = [row for row in json.loads(FACTS.read_text(encoding="utf-8"))["rows"] if row["tags"]]
    return {
        (row["arch"], row["corpus"]): (f"{row['create_arch']}/{row['default_tag']}", row["hf_hub"].rstrip("/"))
        for row in rows
    }


@pytest.mark.parametrize(("name", "count"), [("paper", 12), ("revision", 16)])
def test_the_zoo_of_the_paper_is_that_of_the_facts(name, count):
    known = tagged()
    config = read_study_config(f"study/{name}")
    clips = [model for model in config.models if model.kind == "zero-shot" and model.train is None]
    pairs = {(model.labels["backbone"], model.labels["corpus"]): model for model in clips}
    assert len(clips) == len(pairs) == count
    assert {pair[0] for pair in pairs} == PAPER
    assert {pair[1] for pair in pairs} == CORPORA
    for pair, model in pairs.items():
        assert model.model == known[pair][0]
        assert model.finetuned is not None
        weights, *others = missing_of_model(model, NOWHERE)
        assert (weights.what, weights.where) == (f"weights of {model.name}", f"huggingface.co/{known[pair][1]}")
        assert [one.what for one in others] == [f"data for the finetuning of {model.name}"]
    if name == "revision":
        assert set(known) - set(pairs) == {("ViT-B-32", "laion400m")}


@pytest.mark.parametrize("name", ["paper", "revision"])
def test_counterparts_are_networks_that_exist(name):
    config = read_study_config(f"study/{name}")
    supervised = [model for model in config.models if model.kind == "supervised"]
    listed = set(timm.list_pretrained())
    for model in supervised:
        assert model.model.removeprefix("timm:") in listed
        assert model.model.endswith("_in1k")
        assert "in21k" not in model.model
    assert {model.labels["backbone"] for model in supervised} == PAPER - {"ViT-L-14"}
    # what their comment says: none that was trained on ImageNet-1k alone
    large = [weights for weights in listed if weights.startswith(("vit_large_patch14", "vit_large_patch16_224"))]
    assert not [weights for weights in large if weights.endswith("reg_in1k")]
    random = [model.model.removeprefix("untrained:") for model in config.models if model.kind == "random"]
    assert set(random) == PAPER
    assert set(random) <= set(open_clip.list_models())


def test_the_control_of_the_revision_says_which_file_is_missing():
    config = read_study_config("study/revision")
    (control,) = [model for model in config.models if model.train is not None]
    assert control.labels["corpus"] == "imagenet_captions"
    said = {one.what: one.where for one in missing_of_model(control, NOWHERE)}
    assert "imagenet_captions.csv" in said["data for the training of RN50-imagenet_captions"]
    assert "No folder imagenet" in said["data for the finetuning of RN50-imagenet_captions"]
    assert control.finetuned.training.overrides["model.init_args.encoder"] == control.source()
    assert [one.where for one in missing_of_study(config)] == ["broden1_224"]


def test_weights_are_found_in_every_form_that_can_be_loaded(tiny, work):
    vit = timm.create_model("test_vit", num_classes=20)
    save_tensors(work / "vit.safetensors", vit.state_dict())
    files = {file.name: file.read_bytes() for file in tiny.iterdir()}
    models = [
        one("folder", f"local-dir:{tiny}"), one("file", f"scenes-clip@{tiny}/open_clip_model.safetensors"),
        one("timm", f"timm:test_vit@{work}/vit.safetensors", "supervised"), one("hub", "hf-hub:me/tiny"),
        one("tag", "RN50-quickgelu/openai"), one("bundled", "scenes-clip"),
        one("random", "untrained:scenes-vit", "random"), one("own", "checkpoints/run/last.ckpt", "supervised"),
    ]  # fmt: skip
    config = study(*models)
    lacking = {name: [one.where for one in missing_of_model(model, NOWHERE)] for name, model in named(config).items()}
    assert lacking == {
        "folder": [], "file": [], "timm": [], "hub": ["huggingface.co/me/tiny"],
        "tag": ["huggingface.co/timm/resnet50_clip.openai"], "bundled": [], "random": [],
        "own": ["checkpoints/run/last.ckpt"],
    }  # fmt: skip

    # on the Hub a tokenizer is named by its repository; here it is the file of the folder
    facts = json.loads(files["open_clip_config.json"])
    facts["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = str(tiny)
    in_the_cache(work / "hub", "me/tiny", {**files, "open_clip_config.json": json.dumps(facts).encode()})
    in_the_cache(work / "hub", "timm/resnet50_clip.openai", {"open_clip_model.safetensors": b"weights"})
    (work / "vit.safetensors").unlink()
    lacking = {name: [one.where for one in missing_of_model(model, NOWHERE)] for name, model in named(config).items()}
    assert [name for name, where in lacking.items() if where] == ["timm", "own"]
    # what is said to be here is what is loaded
    found = load_encoder("hf-hub:me/tiny", download=False)
    expected = load_encoder(f"local-dir:{tiny}")
    assert found.checkpoint_hash == expected.checkpoint_hash


def named(config):
    return {model.name: model for model in config.models}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("RN50/openai", "use 'RN50-quickgelu/openai'"), ("ViT-L-14/laion2b", "no pretrained tag 'laion2b'; 'laion"),
        ("RN5/openai", "Unknown encoder 'RN5/openai'; near names: 'RN50'"), ("timm:resnet5", "timm has no network"),
        ("scenes-vit", "ships without weights"), ("timm:resnet50.a9", "has no weights 'a9'"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_loaded_is_no_missing_file(model, said):
    (found,) = missing_of_model(study(one("a", model)).models[0], NOWHERE)
    assert found.what == "model a"
    assert said in found.where


FINETUNED = {"config": "study/scenes_finetune", "encoder": "model.init_args.encoder", "alphas": [0.5, 1.0]}


def test_runs_are_done_to_go_on_or_to_do(work):
    train = {"config": "study/scenes_pretrain", "seed": 0}
    config = study({"name": "a", "kind": "zero-shot", "train": train, "finetuned": FINETUNED})
    (plan,) = planned(config).models
    assert (plan.weights, plan.finetuning, plan.missing) == ("to do", "to do", ())
    assert plan.measured == (0, 5)  # evaluate: 3 rows; prune: not inside the path
    assert sum(plan.work.training) == sum(one.training[1] for one in (
        training_work(config.models[0].train, ""), training_work(config.models[0].finetuned.training, "", "scenes-clip")
    ))  # fmt: skip

    run = work / "checkpoints" / "scenes_pretrain" / "mine-a"
    run.mkdir(parents=True)
    (run / "last.ckpt").touch()
    assert planned(config).models[0].weights == "to go on"
    (run / "results.json").write_text("{}")
    (plan,) = planned(config).models
    assert plan.weights == "missing"
    assert [one.where for one in plan.missing] == ["checkpoints/scenes_pretrain/mine-a/clip/open_clip_config.json"]
    write_clip_folder(run / "clip", ["star"])
    (run / "clip" / "open_clip_model.safetensors").touch()
    (plan,) = planned(config).models
    assert (plan.weights, plan.missing) == ("here", ())
    assert sum(plan.work.training) == training_work(config.models[0].finetuned.training, "", "scenes-clip").training[1]


def test_what_is_measured_is_not_reckoned_again(work):
    config = study(one("a", "scenes-clip"), one("b", "untrained:scenes-clip", "random"))
    before = planned(config)
    assert [model.measured for model in before.models] == [(0, 2), (0, 1)]
    folder = study_folder("mine")
    step = next(iter(steps_of(config.models[0], open_context(config), folder)))
    step.folder.mkdir(parents=True)
    step.results.write_text("{}")
    after = planned(config)
    assert [model.measured for model in after.models] == [(1, 2), (0, 1)]
    image = architecture_cost("scenes-clip").image
    assert before.work.measuring - after.work.measuring == before.images * image
    assert before.images == 12_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": "nowhere.yaml"}, "there is no config 'nowhere.yaml'"),
        ({"config": "study/scenes_pretrain"}, "it has no callback WiseFT, which writes the path"),
        ({"alphas": [0.3, 1.0]}, "WiseFT writes no α = 0.3, only 0, 0.25, 0.5, 0.75, 1"),
        ({"config": "study/imagenet_finetune_8gpu", "set": {"data.init_args.root": "here"}}, "No folder here"),
        ({"set": {"data.init_args.n_trian": 3}}, "n_trian"),
    ],
)  # fmt: skip
def test_what_a_finetuning_lacks_is_said_before_it_begins(change, said):
    config = study(one("a", "scenes-clip", finetuned={**FINETUNED, **change}))
    found = missing_of_model(config.models[0], NOWHERE)
    assert said in found[0].where
    assert "finetuning of a" in found[0].what
    assert "/config.yaml" not in found[0].where  # the file that it was tried with


def test_a_run_that_was_begun_otherwise_is_in_the_way(work):
    part = StudyTraining(config="study/scenes_finetune", run="mine-a-finetuned", overrides={"model.init_args.lr": 0.1})
    model = StudyModel(
        name="a",
        kind="zero-shot",
        family="a",
        model="scenes-clip",
        finetuned=FinetunedPart(training=part, alphas=(1.0,)),
    )
    part.folder.mkdir(parents=True)
    (part.folder / "last.ckpt").touch()
    settings = part.settings()
    (part.folder / "config.yaml").write_text(yaml.safe_dump(settings))
    assert missing_of_model(model, NOWHERE) == []
    settings["model"]["init_args"]["lr"] = 0.2
    (part.folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (found,) = missing_of_model(model, NOWHERE)
    assert "was begun with model.init_args.lr = 0.2" in found.where


def test_hours_are_arithmetic():
    run = StudyTraining(config="study/scenes_pretrain", run="a", overrides={"trainer.max_epochs": 7})
    cost = architecture_cost("scenes-clip")
    work = training_work(run, "a")
    assert work.training == (0.0, 3.0 * (cost.image + cost.text) * 20_480 * 7)
    assert work.gpu_hours[0] == pytest.approx(work.training[1] / (19.5e12 * 0.35 * 3600))
    assert work.core_hours[0] == pytest.approx(work.training[1] / (20e9 * 3600))
    steps = StudyTraining(config="study/scenes_finetune", run="a", overrides={"trainer.max_steps": 10})
    assert training_work(steps, "a").training == (0.0, 3.0 * cost.image * 128 * 10)
    half = StudyTraining(config="study/imagenet_finetune_8gpu", run="a", overrides={"data.init_args.shots": 2})
    assert training_work(half, "a", "scenes-clip").training == (3.0 * cost.image * 2000 * 10, 0.0)
    vague = StudyTraining(config="study/imagenet_captions_8gpu", run="a")
    assert "how many pairs it has" in training_work(vague, "the control", "scenes-clip").unknown[0]


def test_the_command_prints_the_plan_and_writes_nothing(work, capsys):
    study(one("a", "scenes-clip", finetuned=FINETUNED), one("b", "scenes-clip@b.safetensors"))
    assert main(["study", "--config", "mine.yaml", "--plan"]) == 1
    out = capsys.readouterr().out
    assert "2 models, 4 rows" in out
    assert "b.safetensors (for weights of b)" in out
    assert "core hours" in out
    assert sorted(file.name for file in work.iterdir()) == ["mine.yaml"]
    assert main(["study", "--config", "mine.yaml", "--plan", "--only", "a"]) == 0
    assert "Nothing is missing." in capsys.readouterr().out


@pytest.mark.parametrize("concepts", ["nowhere:x", "broden", "scenes:x"])
def test_a_concept_set_that_there_is_not_is_refused_before_anything_is_measured(work, capsys, concepts):
    study(one("a", "untrained:scenes-clip", "random"), measure=["evaluate", "probe"], concepts=concepts)
    assert main(["study", "--config", "mine.yaml"]) == 2
    assert f"no concept set {concepts!r}; what works: scenes, broden:FOLDER" in capsys.readouterr().err
    assert not (work / "checkpoints").exists()
    assert main(["study", "--config", "mine.yaml", "--plan"]) == 1
    assert f"no concept set {concepts!r}" in capsys.readouterr().out.replace("No concept", "no concept")


@pytest.mark.parametrize("width", [80, 140])
def test_no_name_is_broken_and_what_says_nothing_has_no_column(work, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    names = ["a-model-with-a-rather-long-name", "b", "c"]
    study(*(one(name, "untrained:scenes-clip", "random") for name in names), one("d", "scenes-clip"))
    assert main(["study", "--config", "mine.yaml", "--plan"]) == 0
    table = capsys.readouterr().out.partition("4 models")[0].splitlines()
    assert max(map(len, table)) <= width
    assert all(sum(name in line.split() for line in table) >= 1 for name in (*names, "d"))
    assert any("core hours" in line for line in table)
    assert not any("GPU hours" in line or "finetuning" in line for line in table)
    assert sum("untrained:scenes-clip" in line for line in table) == (1 if width == 80 else 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "revision"])
def test_the_first_line_of_the_study_says_the_hours_of_its_plan(name):
    config = read_study_config(f"study/{name}")
    said = int(config.file.read_text(encoding="utf-8").splitlines()[0].rpartition("estimated ")[2].split()[0])
    assert sum(planned(config).work.gpu_hours) == pytest.approx(said, rel=0.03)
