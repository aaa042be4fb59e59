"""`probe` over step checkpoints: the curves of the run that wrote them, and what is refused."""

import csv
import json
import math
import shutil

import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import load_file, save_file

from lightning_robust.cli import probe_steps, probing_steps
from lightning_robust.cli.main import main
from lightning_robust.cli.probe_steps_files import StepFile, steps_folder, steps_of
from lightning_robust.cli.probing_steps import agreement
from lightning_robust.data.scenes.dataset import SceneImages
from lightning_robust.data.scenes.vocabulary import caption_words
from lightning_robust.models import load_encoder, write_clip_folder
from lightning_robust.models.checkpoint_files import save_tensors
from lightning_robust.results import read_curves
from lightning_robust.results.steps_record import ProbedStep, read_steps

STEPS = [0, 1, 2, 3]
SIZES = {"n_train": 24, "n_val": 300, "n_val_shift": 1, "n_test": 1, "n_concepts": 60, "batch_size": 8}
OWN = ("val/", "er/")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The batch norms of .* begin with a running mean of 0"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
]


def callback(name, **settings):
    return {"class_path": f"lightning_robust.callbacks.{name}", "init_args": settings}


def fit(folder, name, model, data, *monitors, settings=None, **trainer):
    """A run of `fit` as a user types it; the folder of the run."""
    clip = folder / "tiny"
    if not clip.exists():
        write_clip_folder(clip, caption_words(), embed_dim=40, vision_width=4, vision_head_width=32, text_width=16)
        weights = load_encoder(f"local-dir:{clip}", pretrained=False).model.state_dict()
        save_tensors(clip / "open_clip_model.safetensors", weights)
    config = {
        "seed_everything": 0,
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "logger": False, "callbacks": list(monitors), **trainer},
        "model": {
            "class_path": f"lightning_robust.training.{model}",
            "init_args": {"encoder": f"local-dir:{clip}", "lr": 1e-2, "warmup_steps": 1, **(settings or {})},
        },
        "data": {"class_path": "lightning_robust.data.ScenesDataModule", "init_args": {**SIZES, **data}},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", f"{name}.yaml", "--run_name", "run"]) == 0
    return folder / "checkpoints" / name / "run"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A contrastive and a supervised run, watched in different ways."""
    here = tmp_path_factory.mktemp("runs")
    h, tower = "model.encoder.visual", "encoder.visual"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        contrastive = fit(
            here,
            "contrastive",
            "ContrastivePretraining",
            {"task": "caption"},
            callback("LogSteps", recalibrate=16),
            callback("SignatureMonitor", layers=[f"{tower}.layer4", tower], weights=[f"{tower}.conv1.weight"]),
            callback("ConceptMonitor"),
            callback("KurtosisMonitor", layers=[f"{tower}.layer1"], images="concepts", prefix="own", untrained=True),
        )
        supervised = fit(
            here,
            "supervised",
            "SupervisedPretraining",
            {"task": "classify", "seed": 3},
            callback("LogSteps"),
            callback("KurtosisMonitor", layers=[f"{h}.layer?", h]),
            callback("SpectrumMonitor", controls=True),
            callback("ConceptMonitor", layers=[h], rotations=2, seed=5),
            limit_val_batches=1,
        )
    return {"contrastive": contrastive, "supervised": supervised}


@pytest.fixture(scope="module")
def thin(runs, tmp_path_factory):
    """The contrastive run with two of its checkpoints and without concepts, for what is not about curves."""
    run = tmp_path_factory.mktemp("thin") / "run"
    shutil.copytree(runs["contrastive"], run, ignore=shutil.ignore_patterns("*.ckpt", "events*", "step=00000[12]*"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    kept = [entry for entry in config["trainer"]["callbacks"] if "ConceptMonitor" not in entry["class_path"]]
    kept = [entry for entry in kept if entry["init_args"].get("prefix") != "own"]
    config["trainer"]["callbacks"] = kept
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if "picture" not in request.node.name:  # drawing takes longer than all the rest
        monkeypatch.setattr("lightning_robust.report.steps_figure.steps_figure", lambda _: Figure((1, 1)))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def probe(*arguments):
    return main(["probe", "--device", "cpu", *map(str, arguments)])


def record_of(folder, name="001"):
    return read_steps(folder / "checkpoints" / "probe" / name / "results.json")


def copied(run, folder):
    """A copy of a run that may be spoilt."""
    shutil.copytree(run, folder / "copy", ignore=shutil.ignore_patterns("*.ckpt", "events*"))
    return folder / "copy"


@pytest.mark.parametrize("kind", ["contrastive", "supervised"])
def test_the_curves_are_those_of_the_run(kind, runs, folder, capsys):
    """Every figure that a monitor logged, importance, concepts, controls and weights among them, to rounding."""
    assert probe("--model", runs[kind] / "steps") == 0
    logged = {
        (row.step, row.tag): row.value
        for row in read_curves(runs[kind] / "signatures.csv")
        if not row.tag.startswith(OWN) and not row.tag.endswith("/untrained")
    }
    with (folder / "checkpoints/probe/001/probe-steps.csv").open(newline="") as file:
        found = {(int(row["step"]), row["tag"]): row["value"] for row in csv.DictReader(file)}
    assert found.keys() == logged.keys()
    assert {step for step, _ in found} == set(STEPS)
    for key, value in logged.items():
        assert (math.isnan(value) and found[key] == "") or float(found[key]) == pytest.approx(value, rel=1e-6), key
    kinds = {tag.split("/")[0] for _, tag in found}
    assert {"kurtosis", "outliers", "massive", "spectrum", "importance", "concepts"} <= kinds
    record = record_of(folder)
    assert [point.step for point in record.points] == STEPS
    assert record.agreement.figures == len(logged)
    assert record.agreement.largest <= 1e-6
    rankme = f"spectrum/{record.representation}/rankme"
    assert len({point.figures[rankme] for point in record.points}) == len(STEPS)  # they are curves
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-1])) <= 80  # the last is a path
    assert [line.split()[0] for line in lines if line[:6].strip().isdecimal()] == list(map(str, STEPS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "settings", "averaged"),
    [
        ("ClassifierFinetuning", {}, False),
        ("ContrastiveFinetuning", {}, False),
        ("ContrastivePretraining", {"loss": "siglip", "identical": False}, False),
        ("SupervisedPretraining", {}, True),
    ],
)
def test_every_training_of_this_package_and_averaged_weights(model, settings, averaged, folder):
    task = {"task": "caption"} if model == "ContrastivePretraining" else {}
    ema = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}}
    before = [ema] if averaged else []
    run = fit(
        folder, "own", model, task, *before, callback("LogSteps"), callback("SignatureMonitor"), settings=settings
    )
    assert probe("--model", run) == 0
    record = record_of(folder)
    logged = [row.tag for row in read_curves(run / "signatures.csv") if not row.tag.startswith(OWN)]
    assert record.agreement.figures == len(logged)
    assert record.agreement.largest <= 1e-6
    assert f"importance/{record.representation}/raw/max_over_median" in logged
    assert record.origin.startswith(model)


def test_what_was_measured_stands_in_record_terminal_and_picture(runs, folder, capsys):
    assert probe("--model", runs["supervised"], "--run_name", "mine") == 0  # the run's folder will do
    assert {path.name for path in (folder / "checkpoints/probe/mine").iterdir()} == {
        "curves.png", "probe-steps.csv", "results.json",
    }  # fmt: skip
    with Image.open(folder / "checkpoints/probe/mine/curves.png") as picture:
        assert picture.size[0] > 1000
    record = record_of(folder, "mine")
    validation, concepts = record.data.images.items()
    assert validation == ("the run's validation loader 0, reference (scenes world, version 1, seed 3)", 250)  # limited
    assert concepts == ("the run's concept set (scenes world, version 1, seed 3)", 60)
    assert record.classes == 20
    assert record.layers[-1].name in {"model.encoder.visual", "model.encoder.visual.layer4"}
    assert {layer.name for layer in record.layers} >= {f"model.encoder.visual.layer{k}" for k in range(1, 5)}
    assert any("head: linear, of each checkpoint" in line for line in record.conventions)
    assert 5 in record.seeds.values()
    first = record.points[1]
    assert first.checkpoint_hash != record.points[2].checkpoint_hash
    assert first.head_hash is not None
    out = " ".join(capsys.readouterr().out.split())
    assert "250 images of the run's validation loader 0, reference (scenes world, version 1, seed 3)" in out
    assert "signatures.csv has too" in out


def test_what_cannot_be_seen_in_the_figures_is_said(runs, folder):
    assert probe("--model", runs["contrastive"], "--max_images", "20") == 0
    record = record_of(folder)
    assert any("figures of the untrained model (…/untrained) are left out" in line for line in record.conventions)
    assert any("recomputed over 16 training images at each checkpoint" in line for line in record.conventions)
    assert not any(tag.endswith("/untrained") for tag in record.points[0].figures)


def test_images_layers_and_concepts_of_ones_own(thin, folder):
    chosen = ["--images", "scenes", "--max_images", "30", "--layers", "encoder.visual.layer2", "--concepts"]
    assert probe("--model", thin / "steps", *chosen, "scenes?n=60&seed=1", "--seed", "7") == 0
    record = record_of(folder)
    plain, concepts = record.data.images.items()
    assert plain == ("scenes world, version 1, reference test images, seed 0", 30)
    assert concepts == ("scenes world, version 1, clean probe images, seed 1 (concepts)", 60)
    kurtosis = {tag.split("/")[1] for tag in record.points[0].figures if tag.startswith("kurtosis/")}
    assert kurtosis == {"encoder.visual.layer2", "encoder.visual"}
    assert set(record.seeds.values()) == {7}
    assert record.agreement is None  # other images: nothing to compare with


def test_the_first_images_alone_and_batches_of_another_size(thin, folder):
    for name, size in (("a", ["--batch_size", "7"]), ("b", [])):
        assert probe("--model", thin, "--max_images", "20", "--run_name", name, *size) == 0
    small, whole = record_of(folder, "a"), record_of(folder, "b")
    ((source, count),) = small.data.images.items()
    assert source.startswith("the first of the run's validation loader 0, reference")
    assert count == 20
    assert small.agreement is whole.agreement is None
    for one, other in zip(small.points, whole.points, strict=True):
        for tag in ("kurtosis/encoder.visual", "importance/encoder.visual/centred/max_over_median"):
            assert one.figures[tag] == pytest.approx(other.figures[tag], rel=1e-5)


def test_images_are_made_once_and_weights_one_at_a_time(runs, monkeypatch):
    shown, held = [], []
    get, weights = SceneImages.__getitem__, StepFile.weights
    monkeypatch.setattr(SceneImages, "__getitem__", lambda self, k: shown.append(k) or get(self, k))
    monkeypatch.setattr(StepFile, "weights", lambda self: held.append(self.step) or weights(self))
    assert probe("--model", runs["contrastive"]) == 0
    assert len(shown) == 300 + 60
    assert held == [0, *STEPS]  # the first tells what the model is


def test_a_run_without_monitors_is_measured_at_its_stages(runs, folder):
    run = copied(runs["supervised"], folder)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"]["callbacks"] = config["trainer"]["callbacks"][:1]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "signatures.csv").unlink()
    for path in (run / "steps").glob("step=00000[1-6]*"):
        path.unlink()
    assert probe("--model", run / "steps", "--classes", "none.txt") == 2  # it has a head
    assert probe("--model", run / "steps", "--max_images", "20") == 0
    record = record_of(folder)
    names = [layer.name for layer in record.layers]
    assert names == [*(f"model.encoder.visual.layer{k}" for k in range(1, 5)), "model.encoder.visual"]
    assert [point.step for point in record.points] == [0]
    assert record.agreement is None
    assert list(record.data.images.values()) == [20]


def test_an_earlier_probe_is_printed_again(thin, folder, capsys):
    assert probe("--model", thin, "--max_images", "20") == 0
    capsys.readouterr()
    earlier = folder / "checkpoints" / "probe" / "001"
    assert main(["probe", "--model", str(earlier)]) == 0
    assert "h, encoder.visual, step by step" in capsys.readouterr().out
    assert record_of(folder, "002") == record_of(folder)
    assert main(["probe", "--model", str(earlier), "--seed", "1"]) == 2
    assert "--seed has no effect on earlier probes" in capsys.readouterr().err


def refused(arguments, capsys, folder):
    """The sentence of a refusal that left nothing behind."""
    before = {path for path in folder.rglob("*") if "copy" not in path.parts}
    assert probe(*arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert {path for path in folder.rglob("*") if "copy" not in path.parts} == before
    return message


def test_folders_that_hold_no_curve(runs, folder, capsys):
    (folder / "steps").mkdir()
    assert "steps holds no step checkpoints" in refused(["--model", folder / "steps"], capsys, folder)
    finished = copied(runs["contrastive"], folder)
    shutil.rmtree(finished / "steps")
    assert f"name a file of this run, such as {finished}" in refused(["--model", finished], capsys, folder)
    (folder / "other").mkdir()
    assert "other is a folder" in refused(["--model", "other"], capsys, folder)
    shutil.copytree(runs["contrastive"] / "steps", folder / "lost" / "steps")
    assert "lies in no run of 'fit'" in refused(["--model", folder / "lost"], capsys, folder)
    assert steps_folder("scenes-clip") is None


def test_files_that_do_not_belong_together(runs, folder, capsys):
    run = copied(runs["supervised"], folder)
    steps = run / "steps"
    whole = (steps / "step=000003.safetensors").read_bytes()
    (steps / "step=000003.safetensors").write_bytes(whole[: len(whole) // 2])
    message = refused(["--model", run], capsys, folder)
    assert "step=000003.safetensors is not a whole safetensors file" in message
    state = load_file(steps / "step=000002.safetensors")
    save_file({**state, "visual.conv1.weight": torch.zeros(9, 3, 3, 3)}, steps / "step=000003.safetensors")
    message = refused(["--model", run], capsys, folder)
    assert "step=000003.safetensors" in message
    assert "are of different models (visual.conv1.weight is of shape (9, 3, 3, 3) and of shape (" in message
    save_file({k: v for k, v in state.items() if "bn1.bias" not in k}, steps / "step=000003.safetensors")
    assert "bn1.bias is missing and of shape" in refused(["--model", run], capsys, folder)
    (steps / "step=000003.safetensors").write_bytes(whole)
    (steps / "step=000001.head.safetensors").unlink()
    assert "step=000001.safetensors has no head beside it" in refused(["--model", run], capsys, folder)
    shutil.copy(steps / "step=000002.head.safetensors", steps / "step=000001.head.safetensors")
    tiny = f"local-dir:{runs['supervised'].parents[2] / 'tiny'}"
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace(tiny, "scenes-clip"))
    assert "reads 40 features and 'scenes-clip' gives 128" in refused(["--model", run], capsys, folder)


def test_checkpoints_of_another_encoder_than_the_config_names(thin, runs, folder, capsys):
    run = copied(thin, folder)
    tiny = f"local-dir:{runs['contrastive'].parents[2] / 'tiny'}"
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace(tiny, "scenes-clip"))
    assert "does not hold the weights of the encoder" in refused(["--model", run], capsys, folder)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--layers", "encoder.visual.layer9"], "layer9"),
        (["--images", "nowhere"], "nowhere"),
        (["--concepts", "brodn:here"], "No concept set 'brodn:here'"),
        (["--weights", "w.pt"], "--weights is for networks of timm"),
        (["--classes", "none.txt"], "cannot read the class names in none.txt"),
        (["--device", "tpu9"], "tpu9"),
    ],
)
def test_settings_that_cannot_be(arguments, sentence, thin, folder, capsys):
    assert sentence in refused(["--model", thin, *arguments], capsys, folder)


def test_steps_are_not_set_side_by_side(runs, folder, capsys):
    main_arguments = ["probe", "--compare", "scenes-clip", str(runs["contrastive"] / "steps")]
    assert main(main_arguments) == 2
    assert "--compare sets single models side by side" in capsys.readouterr().err
    one = runs["contrastive"] / "steps" / "step=000003.safetensors"
    assert probe("--model", one, "--max_images", "9") == 0  # one of them is a model like any other
    results = folder / "checkpoints" / "probe" / "001" / "results.json"
    assert json.loads(results.read_text())["kind"] == "probe"


def test_data_that_are_not_the_scenes_world_need_images(runs, folder, capsys):
    run = copied(runs["contrastive"], folder)
    text = (run / "config.yaml").read_text().replace("ScenesDataModule", "ImageNetDataModule")
    (run / "config.yaml").write_text(text)
    assert "name the images with --images" in refused(["--model", run], capsys, folder)
    assert probe("--model", run, "--images", "scenes", "--max_images", "9") == 0
    record = record_of(folder)
    assert list(record.data.images.values()) == [9]
    assert record.classes == 0
    assert any("concept set" in line and "left out" in line for line in record.conventions)


def test_an_interrupted_probe_leaves_nothing(thin, folder, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    for module, name in ((probing_steps, "run_pass"), (probe_steps, "write_steps")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, interrupted)
            assert probe("--model", thin, "--max_images", "9") == 130
        assert "interrupted" in capsys.readouterr().err
        assert not list(folder.glob("checkpoints/probe/*"))


def test_images_that_do_not_fit_are_refused(thin, folder, capsys, monkeypatch):
    monkeypatch.setattr("lightning_robust.cli.probe_steps_images._memory", lambda: 2 * 10 * 3 * 32 * 32 * 4)
    message = refused(["--model", thin], capsys, folder)
    assert "300 images of 3 × 32 × 32" in message
    assert "--max_images 10 would fit" in message


def test_the_agreement_names_the_figure_that_is_furthest_off(tmp_path):
    (tmp_path / "signatures.csv").write_text(
        "epoch,step,tag,value\n0,0,a,1.0\n0,0,b,nan\n1,4,a,2.0\n1,4,other,1.0\n1,4,b,3.0\n"
    )

    def point(step, **figures):
        return ProbedStep(step=step, checkpoint_hash="", head_hash=None, figures=figures)

    equal = agreement([point(0, a=1.0, b=math.nan), point(2, a=5.0)], tmp_path / "signatures.csv")
    assert (equal.figures, equal.steps, equal.largest, equal.tag) == (2, 1, 0.0, "")
    apart = agreement([point(0, a=1.0), point(4, a=2.5, b=3.0)], tmp_path / "signatures.csv")
    assert (apart.figures, apart.steps, apart.largest, apart.tag, apart.step) == (3, 2, pytest.approx(0.2), "a", 4)
    undefined = agreement([point(4, a=2.0, b=math.nan)], tmp_path / "signatures.csv")
    assert (undefined.largest, undefined.tag) == (math.inf, "b")
    assert agreement([point(1, a=1.0)], tmp_path / "signatures.csv") is None


def test_files_are_read_in_the_order_of_their_steps(tmp_path):
    for name in ("step=000010", "step=000002", "step=1000000", "step=x"):
        save_file({"w": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    assert [file.step for file in steps_of(tmp_path)] == [2, 10, 1_000_000]
