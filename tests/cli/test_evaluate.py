"""`evaluate`: figures against own forward passes, what is kept, what is refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import binomtest
from toy_evaluation_data import GROUPS, NAMES, Toy, write_images

from lightning_robust.cli import evaluate_models, evaluate_published, evaluate_record
from lightning_robust.cli.main import main
from lightning_robust.models import (
    ImageClassifier,
    calibrate_untrained,
    interpolate,
    load_encoder,
    save_tensors,
    split_classifier_state,
    weights_file,
)
from lightning_robust.models.bundled import save_classifier
from lightning_robust.models.image_tower import ImageTower
from lightning_robust.models.networks import load_network
from lightning_robust.results import collect_provenance, read_evaluation
from lightning_robust.results.baseline_record import BaselineRecord, ModelAccuracies, write_baseline
from lightning_robust.robustness import load_baseline, paired_bootstrap

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    write_images(root)
    return root


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.syspath_prepend(str(HERE))
    write_config(tmp_path / "toy.yaml", images)
    return tmp_path


def write_config(path, root, **options):
    section = {"class_path": "toy_evaluation_data.Toy", "init_args": {"root": str(root), **options}}
    path.write_text(yaml.safe_dump({"data": section}))


def evaluate(*arguments, data="toy.yaml"):
    return main(["evaluate", "--device", "cpu", "--data", data, *arguments])


def results(folder, run="001"):
    return read_evaluation(folder / "checkpoints" / "evaluate" / run / "results.json")


def logits_of(network, loader):
    """A naive loop, image by image."""
    with torch.no_grad():
        rows = [(network.model(image[None])[0], target) for images, targets in loader
                for image, target in zip(images, targets, strict=True)]  # fmt: skip
    return torch.stack([row for row, _ in rows]).numpy(), np.array([int(target) for _, target in rows])


@pytest.fixture(scope="module")
def clip():
    """The bundled CLIP with the toy's class names."""
    return load_network("scenes-clip", class_names=NAMES, templates=Toy(".").templates)


@pytest.fixture(scope="module")
def expected(images, clip):
    """By hand: right answers and images of each set, and the reference images that the groups cover."""
    loaders = Toy(str(images), clip.transform).test_dataloader()
    reference, shift, whole = (logits_of(clip, loader) for loader in loaders)
    group_of = {index: k for k, group in enumerate(GROUPS) for index in group}

    def among_groups(logits):
        return [max(range(2), key=lambda k: max(row[c] for c in GROUPS[k])) for row in logits]

    covered = [k for k, target in enumerate(reference[1]) if target in group_of]
    guesses = among_groups(reference[0][covered])
    return {
        "reference": int((reference[0].argmax(1) == reference[1]).sum()),
        "shift": sum(g == group_of[t] for g, t in zip(among_groups(shift[0]), shift[1], strict=True)),
        "all": int((whole[0].argmax(1) == whole[1]).sum()),
        "matched": (sum(g == group_of[reference[1][k]] for g, k in zip(guesses, covered, strict=True)), len(covered)),
    }


def test_one_model_against_a_naive_loop(folder, capsys, expected):
    assert evaluate("--model", "scenes-clip") == 0
    record = results(folder)
    (model,) = record.models
    assert {row.set: row.correct for row in model.rows} == {k: expected[k] for k in ("reference", "shift", "all")}
    assert [row.images for row in model.rows] == [48, 36, 36]
    assert (model.shifts[0].matched_correct, model.shifts[0].matched_images) == expected["matched"]
    assert (model.shifts[1].matched_correct, model.shifts[1].matched_images) == (expected["reference"], 48)
    assert model.reference.matched_correct is None
    assert [row.protocol for row in model.rows] == [
        "top-1 over all classes",
        "toy: two groups",
        "top-1 over all classes",
    ]
    for row in model.rows:
        interval = binomtest(row.correct, row.images).proportion_ci(method="wilson")
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
    assert len({expected["shift"], expected["all"], expected["matched"][0]}) == 3  # masks matter here
    assert model.checkpoint_hash == load_encoder("scenes-clip").checkpoint_hash
    assert record.data.images == {"reference": 48, "shift": 36, "all": 36}
    with (folder / "checkpoints" / "evaluate" / "001" / "accuracies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [row.accuracy for row in model.rows]
    assert (int(rows[1]["matched_correct"]), rows[0]["matched_correct"]) == (expected["matched"][0], "")
    out = capsys.readouterr().out
    assert "toy: two groups" in out
    assert f"{100 * model.reference.accuracy:.1f}" in out
    assert max(map(len, out.splitlines()[:-2])) <= 100


def path_folder(folder, alphas=(0.0, 0.3, 0.5, 1.0)):
    """A run's folder with a Wise-FT path, as `fit` leaves it."""
    encoder = load_encoder("scenes-clip")
    head = load_network("scenes-clip", class_names=NAMES, templates=Toy(".").templates).head
    theta0 = {k: v.clone() for k, v in ImageClassifier(encoder.model, head).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    theta1 = dict(theta0)
    for name, value in theta0.items():
        if name.startswith("encoder.visual") and value.ndim > 1:
            theta1[name] = value + 0.7 * value.std() * torch.randn(value.shape, generator=generator)
    (folder / "wise_ft").mkdir(parents=True)
    for alpha in alphas:
        clip, head = split_classifier_state(interpolate(theta0, theta1, alpha))
        save_tensors(folder / "wise_ft" / f"alpha={alpha:.2f}.safetensors", clip)
        save_tensors(folder / "wise_ft" / f"alpha={alpha:.2f}.head.safetensors", head)
    settings = {"model": {"class_path": "x.ClassifierFinetuning", "init_args": {"encoder": "scenes-clip"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_a_path_reads_each_image_once_and_equals_its_files(folder, capsys, monkeypatch):
    run = path_folder(folder / "run")
    monkeypatch.setenv("TOY_LOG", str(folder / "log"))
    assert evaluate("--model", "run", "--run_name", "path") == 0
    assert len((folder / "log").read_text().splitlines()) == 48 + 36 + 36
    path = results(folder, "path")
    assert [model.alpha for model in path.models] == [0.0, 0.3, 0.5, 1.0]
    assert not any("evaluated as the file is" in sentence for sentence in path.conventions)
    files = [str(run / "wise_ft" / f"alpha={alpha:.2f}.safetensors") for alpha in (0, 0.3, 0.5, 1)]
    assert evaluate("--model", *files, "--run_name", "files") == 0
    single = results(folder, "files")
    for one, other in zip(path.models, single.models, strict=True):
        assert one.rows == other.rows
        assert one.checkpoint_hash == other.checkpoint_hash
    assert len({model.reference.correct for model in path.models}) > 2
    assert [(d.set, d.interval) for d in path.differences] == [(d.set, d.interval) for d in single.differences]
    out = capsys.readouterr().out
    assert "α = 0.3" in out
    assert "Against α = 0," in out
    assert evaluate("--model", "run/wise_ft", "--run_name", "path") == 0  # the same models by another name
    assert "4 of 4 models were evaluated before" in capsys.readouterr().err


def test_a_finer_path_that_interpolate_wrote_into_the_run(folder):
    run = path_folder(folder / "run", alphas=(0.0, 1.0))
    ends = [str(run / "wise_ft" / f"alpha={alpha}.safetensors") for alpha in ("0.00", "1.00")]
    assert (
        main(["interpolate", "--start", ends[0], "--end", ends[1], "--alphas", "0", "0.25", "1", "--out", "run/fine"])
        == 0
    )
    assert evaluate("--model", "run/fine") == 0
    fine = results(folder)
    assert [model.alpha for model in fine.models] == [0.0, 0.25, 1.0]
    assert not any("bitwise" in sentence for sentence in fine.conventions)
    assert evaluate("--model", "run", "--run_name", "ends") == 0
    ends = results(folder, "ends").models
    assert [fine.models[k].rows for k in (0, 2)] == [model.rows for model in ends]


def test_a_file_off_the_line_is_evaluated_as_it_is(folder, capsys):
    run = path_folder(folder / "run", alphas=(0.0, 0.5, 1.0))
    wise = run / "wise_ft"
    for kind in ("", ".head"):  # as if the middle had been replaced by the end
        (wise / f"alpha=0.50{kind}.safetensors").write_bytes((wise / f"alpha=1.00{kind}.safetensors").read_bytes())
    assert evaluate("--model", "run") == 0
    record = results(folder)
    assert record.models[1].rows == record.models[2].rows != record.models[0].rows
    assert any("alpha=0.50.safetensors is not bitwise on the line" in sentence for sentence in record.conventions)
    assert "not bitwise on the line" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("alphas", "missing"),
    [((0.0, 0.5), "alpha=1,"), ((0.5, 1.0), "alpha=0,"), ((0.3, 0.5), "alpha=0 and no alpha=1,")],
)
def test_a_path_without_an_end_is_said_to_lack_it(folder, capsys, alphas, missing):
    path_folder(folder / "run", alphas)
    assert evaluate("--model", "run", "--run_name", "path") == 0
    record = results(folder, "path")
    (said,) = [sentence for sentence in record.conventions if "evaluated as the file is" in sentence]
    assert said.startswith(f"run has no {missing} so that no file can be compared with the line between them")
    assert "not bitwise" not in " ".join(capsys.readouterr().out.split())
    files = [str(folder / "run" / "wise_ft" / f"alpha={alpha:.2f}.safetensors") for alpha in alphas]
    assert evaluate("--model", *files, "--run_name", "files") == 0
    assert [model.rows for model in record.models] == [model.rows for model in results(folder, "files").models]


def test_differences_are_those_of_the_paired_bootstrap(folder, images, clip):
    assert evaluate("--model", "scenes-clip", "untrained:scenes-clip", "--seed", "3") == 0
    record = results(folder)
    assert [(d.set, d.model, d.other) for d in record.differences] == [
        (name, "untrained:scenes-clip", "scenes-clip") for name in ("reference", "shift", "all", "shifts")
    ]
    untrained = load_network("untrained:scenes-clip", seed=3, class_names=NAMES, templates=Toy(".").templates)
    calibrate_untrained(untrained.model, reference_images(images, untrained))
    right = []
    for network in (untrained, clip):
        logits, targets = logits_of(network, Toy(str(images), network.transform).test_dataloader()[0])
        right.append(logits.argmax(1) == targets)
    assert record.differences[0].interval == paired_bootstrap(*right, seed=3)
    means = [model.shifts_mean for model in record.models]
    assert record.differences[-1].interval.estimate == pytest.approx(means[1] - means[0])


def reference_images(images, network):
    return (batch[0] for batch in Toy(str(images), network.transform).test_dataloader()[0])


def test_random_weights_have_batch_norms_of_the_reference_whatever_the_batches(folder, images):
    models = ["--model", "untrained:scenes-clip", "--seed", "3"]
    assert evaluate(*models, "--run_name", "all") == 0
    assert evaluate(*models, "--batch_size", "7", "--run_name", "few") == 0
    (model,), (other,) = (results(folder, name).models for name in ("all", "few"))
    assert model.origin == "random weights, seed 3, batch norms calibrated on the reference's images"
    assert model.rows == other.rows
    texts = {"class_names": NAMES, "templates": Toy(".").templates}
    right = []
    for calibrates in (True, False):
        network = load_network("untrained:scenes-clip", seed=3, **texts)
        if calibrates:
            calibrate_untrained(network.model, reference_images(images, network))
        for loader in Toy(str(images), network.transform).test_dataloader()[0::2]:
            logits, targets = logits_of(network, loader)
            right.append(int((logits.argmax(1) == targets).sum()))
    assert [model.rows[0].correct, model.rows[2].correct] == right[:2] != right[2:]


def test_a_shift_with_names_of_its_own_has_a_head_of_its_own(folder, images, clip, capsys):
    write_config(folder / "own.yaml", images, own_names=True)
    assert evaluate("--model", "scenes-clip", data="own.yaml") == 0
    row = results(folder).models[0].shifts[0]
    named = load_network("scenes-clip", class_names=["heart", "car"], templates=Toy(".").templates)
    data = Toy(str(images), clip.transform, own_names=True)
    group_of = {index: k for k, group in enumerate(GROUPS) for index in group}
    logits, targets = logits_of(named, data.test_dataloader()[1])
    assert row.correct == sum(g == group_of[t] for g, t in zip(logits.argmax(1), targets, strict=True))
    logits, targets = logits_of(named, data.test_dataloader()[0])
    pairs = [(g, group_of[t]) for g, t in zip(logits.argmax(1), targets, strict=True) if t in group_of]
    assert (row.matched_correct, row.matched_images) == (sum(g == t for g, t in pairs), len(pairs))
    path_folder(folder / "run")
    capsys.readouterr()
    assert evaluate("--model", "run", data="own.yaml") == 2
    assert "shift is counted with class names of its own" in capsys.readouterr().err
    assert evaluate("--model", "run/wise_ft/alpha=0.50.safetensors", data="own.yaml") == 2
    assert "has a head of its own, and shift is counted with class names of its own" in capsys.readouterr().err


def test_unreadable_images_are_named_and_counted(folder, images, tmp_path_factory, capsys):
    root = tmp_path_factory.mktemp("damaged")
    write_images(root)
    victim = sorted((root / "shift" / NAMES[2]).iterdir())[0]
    victim.write_bytes(b"no image")
    write_config(folder / "damaged.yaml", root)
    assert evaluate("--model", "scenes-clip", "untrained:scenes-clip", data="damaged.yaml") == 0
    record = results(folder)
    assert [row.images for row in record.models[0].rows] == [48, 35, 35]
    named = [sentence for sentence in record.conventions if victim.name in sentence]
    assert len(named) == 2  # once for each set
    assert named[0].startswith("an image of shift was left out: ")
    said = capsys.readouterr()
    assert "".join(said.out.split()).count(victim.name) == 2
    assert victim.name not in said.err
    assert [row.not_numbers for row in record.models[0].rows] == [0, 0, 0]


def test_logits_that_are_no_numbers_are_counted_and_said(folder, capsys):
    head = torch.randn(4, 128)
    head[1, 0] = torch.nan  # a class that the shift does not cover
    model = ImageClassifier(ImageTower(load_encoder("scenes-clip").model.visual), head)
    save_classifier(folder / "own", model, encoder="scenes-clip", class_names=NAMES)
    for _ in range(2):  # a run that goes on says it too
        assert evaluate("--model", "own", "scenes-clip", "--run_name", "x") == 0
        err = capsys.readouterr().err
        assert "warning: own: the logits of 48 images of reference are no numbers; they count as wrong" in err
        assert err.count("are no numbers") == 2
    own, clip = results(folder, "x").models
    assert [row.not_numbers for row in own.rows] == [48, 0, 36]
    assert [row.correct for row in own.rows][::2] == [0, 0]
    assert [row.not_numbers for row in clip.rows] == [0, 0, 0]
    with (folder / "checkpoints" / "evaluate" / "x" / "accuracies.csv").open(newline="") as file:
        assert [row["not_numbers"] for row in csv.DictReader(file)] == ["48", "0", "36", "0", "0", "0"]


def test_fewer_models_leave_the_answers_of_the_others(folder, capsys):
    both = ["scenes-clip", "untrained:scenes-clip"]
    assert evaluate("--model", *both, "--run_name", "x") == 0
    before = without_surroundings(folder, "x")
    assert "kept" not in capsys.readouterr().err
    assert evaluate("--model", both[1], "--run_name", "x") == 0
    assert [model.name for model in results(folder, "x").models] == [both[1]]
    assert "1 other model of this run is kept, but not in results.json" in capsys.readouterr().err
    assert evaluate("--model", *both, "--run_name", "x") == 0
    assert "2 of 2 models were evaluated before" in capsys.readouterr().err
    assert without_surroundings(folder, "x") == before


def baseline_file(path, x="full"):
    rng = np.random.default_rng(0)
    models = []
    for k in range(14):
        p = 0.3 + 0.04 * k
        shifts = {"shift": p * 0.6 + 0.02 * rng.random(), "all": p * 0.5 + 0.02 * rng.random()}
        models.append(ModelAccuracies(f"m{k}", p, shifts, {"shift": min(1.0, p + 0.05)}))
    counts = {"reference": 1000, "shift": 500, "all": 500, "matched/shift": 700}
    record = BaselineRecord(
        name="toy", description="fourteen invented models", protocols={"shift": "by hand"}, images=counts,
        scale="logit", x=x, aggregate="er", models=tuple(models), provenance=collect_provenance(threads=1),
    )  # fmt: skip
    write_baseline(record, path)


@pytest.mark.parametrize("x", ["full", "matched"])
def test_effective_robustness(folder, capsys, x):
    baseline_file(folder / "toy.json", x)
    assert evaluate("--model", "scenes-clip", "--baseline", "toy.json", "--seed", "5") == 0
    record = results(folder)
    (model,) = record.models
    ref, shift, whole = model.rows
    reference = {"reference": ref.accuracy, "shift": shift.matched_accuracy, "all": ref.accuracy}
    counts = {"reference": 48, "shift": 36, "all": 36, "matched/shift": shift.matched_images, "matched/all": 48}
    accuracies = {"shift": shift.accuracy, "all": whole.accuracy}
    assert model.robustness == load_baseline(folder / "toy.json").effective_robustness(
        reference, accuracies, counts, seed=5
    )
    assert record.baseline == "toy: fourteen invented models"
    assert "the baseline's models were counted by shift: by hand" in record.conventions
    out = " ".join(capsys.readouterr().out.split())
    assert f"{100 * model.robustness.mean.estimate:+.1f}" in out
    assert ("extrapolation" in out) == any(one.extrapolated for one in model.robustness.shifts.values())
    assert evaluate("--model", "scenes-clip", "untrained:scenes-clip", "--baseline", "toy.json") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "points over the baseline toy" in out


def test_the_line_is_chosen_on_the_command_line(folder, capsys):
    baseline_file(folder / "toy.json", "full")
    chosen = ("--x", "matched", "--scale", "probit", "--aggregate", "accuracy")
    assert evaluate("--model", "scenes-clip", "--baseline", "toy.json", *chosen) == 0
    record = results(folder)
    robustness = record.models[0].robustness
    assert (robustness.x, robustness.scale, robustness.aggregate) == ("matched", "probit", "accuracy")
    expected = load_baseline(folder / "toy.json", x="matched", scale="probit", aggregate="accuracy")
    ref, shift, whole = record.models[0].rows
    reference = {"reference": ref.accuracy, "shift": shift.matched_accuracy, "all": ref.accuracy}
    counts = {"reference": 48, "shift": 36, "all": 36, "matched/shift": shift.matched_images, "matched/all": 48}
    accuracies = {"shift": shift.accuracy, "all": whole.accuracy}
    assert robustness == expected.effective_robustness(reference, accuracies, counts)
    assert any("probit line" in said and "aggregate = accuracy" in said for said in record.conventions)
    assert evaluate("--model", "scenes-clip", "--x", "matched") == 2
    assert "--x has no effect without a baseline" in capsys.readouterr().err


@pytest.fixture
def known_model(monkeypatch):
    """The bundled CLIP under the name of a model that accuracies are published of."""

    def load(name, **options):
        return load_network("scenes-clip" if name == "ViT-T-1/known" else name, **options)

    monkeypatch.setattr(evaluate_models, "load_network", load)
    monkeypatch.setattr(evaluate_record, "_is_imagenet", lambda _: True)
    table = {"reference": 0.5, "shift": 0.25, "elsewhere": 0.9}
    known = {("ViT-T-1", "known"): table}
    monkeypatch.setattr(
        evaluate_published.tables, "published_zero_shot", lambda architecture, tag: known.get((architecture, tag))
    )
    return table


def test_published_accuracies_stand_beside_and_are_warned_about(folder, capsys, known_model, expected):
    known_model["shift"] = expected["shift"] / 36 + 0.009
    known_model["reference"] = expected["reference"] / 48 - 0.011
    assert evaluate("--model", "ViT-T-1/known", "--run_name", "a") == 0
    model = results(folder, "a").models[0]
    assert dict(model.published) == {"reference": known_model["reference"], "shift": known_model["shift"]}
    said = capsys.readouterr()
    assert "published" in said.out
    assert said.err.count("warning: ViT-T-1/known has") == 1
    assert "on reference, published are" in said.err
    assert evaluate("--model", "ViT-T-1/known", "scenes-clip", "--run_name", "b") == 0
    assert "publ. ref." in capsys.readouterr().out
    assert results(folder, "b").models[1].published == {}


def test_a_model_published_at_another_size_is_not_compared(folder, capsys, monkeypatch):
    def load(name, **options):
        return load_network("scenes-clip" if name == "timm:known" else name, **options)

    monkeypatch.setattr(evaluate_models, "load_network", load)
    monkeypatch.setattr(evaluate_models, "takes_class_names", lambda _: True)
    monkeypatch.setattr(evaluate_record, "_is_imagenet", lambda _: True)
    monkeypatch.setattr(evaluate_published.tables, "published_timm", lambda _: {"reference": 0.5})
    monkeypatch.setattr(evaluate_published, "_with_tag", lambda name: name)
    for size, run in ((288, "a"), (32, "b")):
        monkeypatch.setattr(evaluate_published.tables, "published_image_size", lambda _, size=size: size)
        assert evaluate("--model", "timm:known", "--run_name", run) == 0
    record = results(folder, "a")
    assert dict(record.models[0].published) == {}
    sentence = "timm:known: accuracies are published at 288 px, and it is judged at 32 px here"
    assert any(said.startswith(sentence) for said in record.conventions)
    assert capsys.readouterr().err.count(sentence) == 1
    assert dict(results(folder, "b").models[0].published) == {"reference": 0.5}


def in_a_process(folder, *arguments, launcher=(), **environment):
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths, **environment}
    command = [sys.executable, *launcher, "-m", "lightning_robust", "evaluate", "--data", "toy.yaml", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def without_surroundings(folder, run):
    data = json.loads((folder / "checkpoints" / "evaluate" / run / "results.json").read_text())
    del data["provenance"]
    return data


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(folder, capsys):
    models = ["--model", "scenes-clip", "untrained:scenes-clip"]
    process = in_a_process(folder, *models, "--run_name", "x", TOY_SECONDS="0.05", TOY_LOG=str(folder / "log"))
    kept = folder / "checkpoints" / "evaluate" / "x" / "models"
    try:
        start = time.monotonic()
        while not (kept.is_dir() and any(kept.glob("*.json"))):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() - start < 240
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    (first,) = kept.glob("*.json")
    assert not (kept.parent / "results.json").exists()
    written = first.stat().st_mtime_ns
    read = len((folder / "log").read_text().splitlines())
    again = in_a_process(folder, *models, "--run_name", "x", TOY_LOG=str(folder / "log2"))
    _, err = again.communicate()
    assert again.returncode == 0, err
    assert "1 of 2 models were evaluated before and are skipped" in err
    assert read >= 120
    # all images once, and the reference's 48 once more, on which the random weights' batch norms are calibrated
    assert len((folder / "log2").read_text().splitlines()) == 120 + 48
    assert first.stat().st_mtime_ns == written
    assert evaluate(*models, "--run_name", "whole") == 0
    assert without_surroundings(folder, "x") == without_surroundings(folder, "whole")


@pytest.mark.slow
def test_two_processes_equal_one(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    write_images(root)
    sorted((root / "shift" / NAMES[3]).iterdir())[3].write_bytes(b"no image")
    write_config(folder / "toy.yaml", root)
    baseline_file(folder / "toy.json")
    path_folder(folder / "run")
    arguments = ["--model", "run", "scenes-clip", "untrained:scenes-clip", "--baseline", "toy.json"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = in_a_process(folder, *arguments, "--run_name", "two", launcher=launcher)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("Everything:") == 1
    assert evaluate(*arguments, "--run_name", "one") == 0
    two, one = without_surroundings(folder, "two"), without_surroundings(folder, "one")
    assert two == one
    assert one["models"][0]["rows"][1]["images"] == 35


def test_a_run_goes_on_with_the_same_settings_alone(folder, images, capsys):
    assert evaluate("--model", "scenes-clip", "--run_name", "x") == 0
    assert evaluate("--model", "untrained:scenes-clip", "--run_name", "x") == 0  # other models of the same data
    write_config(folder / "own.yaml", images, own_names=True)
    capsys.readouterr()
    for arguments, data, sentence in [
        (["--split", "val"], "toy.yaml", "split 'test', not 'val'"),
        ([], "own.yaml", "data 'toy.yaml', not 'own.yaml'"),
    ]:
        assert evaluate("--model", "scenes-clip", "--run_name", "x", *arguments, data=data) == 2
        message = capsys.readouterr().err
        assert f"the run 'x' has {sentence}: take another --run_name" in message
        assert message.count("\n") == 1
    write_config(folder / "toy.yaml", images, own_names=True)
    assert evaluate("--model", "scenes-clip", "--run_name", "x") == 2
    assert "has protocols of shift 'toy: two groups', not 'toy: own names'" in capsys.readouterr().err
    write_config(folder / "toy.yaml", images, batch=9)  # as another seed would be: only the options tell
    assert evaluate("--model", "scenes-clip", "--run_name", "x") == 2
    assert "has options of batch 7, not 9" in capsys.readouterr().err
    other = folder / "checkpoints" / "evaluate" / "other"
    other.mkdir()
    for content in (None, "[]", "{}"):
        if content is not None:
            (other / "settings.json").write_text(content)
        assert evaluate("--model", "scenes-clip", "--run_name", "other") == 2
        said = capsys.readouterr().err
        assert ("of an earlier version" if content == "{}" else "holds no evaluation that could go on") in said


def test_a_damaged_file_of_a_model_is_made_again(folder, capsys):
    assert evaluate("--model", "scenes-clip", "--run_name", "x") == 0
    before = without_surroundings(folder, "x")
    (kept,) = (folder / "checkpoints" / "evaluate" / "x" / "models").iterdir()
    whole = json.loads(kept.read_text())
    for damaged in (
        kept.read_text()[:50],
        json.dumps({**whole, "sets": whole["sets"][:2]}),
        json.dumps({**whole, "checkpoint_hash": "0"}),
        json.dumps({**whole, "sets": [{**one, "correct": "AA=="} for one in whole["sets"]]}),
    ):
        kept.write_text(damaged)
        assert evaluate("--model", "scenes-clip", "--run_name", "x") == 0
        assert "evaluated before" not in capsys.readouterr().err
        assert without_surroundings(folder, "x") == before


def test_answers_of_the_raw_weights_are_not_taken_for_those_of_the_averaged_ones(folder, monkeypatch):
    model = load_encoder("scenes-clip").model.state_dict()
    raw = {name: -value if name.endswith("conv1.weight") else value for name, value in model.items()}
    torch.save({"state_dict": raw, "model_ema": model}, folder / "both.pt")
    name = f"scenes-clip@{folder / 'both.pt'}"
    with monkeypatch.context() as before:  # as a version that knew of no averages
        before.setattr(weights_file, "state_entry", lambda content: "state_dict")
        assert evaluate("--model", name, "--run_name", "x") == 0
    assert evaluate("--model", name, "--run_name", "x") == 0
    assert evaluate("--model", "scenes-clip", "--run_name", "plain") == 0
    (found,), (plain,) = results(folder, "x").models, results(folder, "plain").models
    assert found.rows == plain.rows
    assert found.origin.startswith(f"weights of {folder / 'both.pt'}, averaged weights (model_ema)")


def test_batches_do_not_change_what_comes_out(folder):
    assert evaluate("--model", "scenes-clip", "--run_name", "a") == 0
    assert evaluate("--model", "scenes-clip", "--run_name", "b", "--batch_size", "48", "--num_workers", "1") == 0
    assert without_surroundings(folder, "a") == without_surroundings(folder, "b")


@pytest.mark.parametrize(
    ("arguments", "data", "sentence"),
    [
        (["--model", "scenes-clop"], "toy.yaml", "Unknown encoder 'scenes-clop'"),
        (["--model", "scenes-supervised"], "toy.yaml", "scenes-supervised has 20 classes and the data have 4"),
        (["--model", "untrained:timm:resnet10t"], "toy.yaml", "has 1000 classes and the data have 4"),
        (["--model", "scenes-clip", "nowhere/last.ckpt"], "toy.yaml", "nowhere/last.ckpt"),
        (["--model", "scenes-clip"], "nothing", "no data 'nothing'"),
        (["--model", "scenes-clip"], "empty.yaml", "has no data: section"),
        (["--model", "scenes-clip"], "broken.yaml", "cannot read the config"),
        (["--model", "scenes-clip"], "strange.yaml", "Nowhere"),
        (["--model", "scenes-clip"], "option.yaml", "rooot"),
        (["--model", "scenes-clip"], "imagenet:nowhere", "nowhere"),
        (["--model", "scenes-clip"], "imagenet:.?top=5", "not 'top=5'"),
        (["--model", "scenes-clip", "--download"], "scenes", "--download has no effect on the data 'scenes'"),
        (["--model", "scenes-clip", "--batch_size", "0"], "toy.yaml", "'0' is not a whole number of at least 1"),
        (["--model", "scenes-clip", "--num_workers", "-1"], "toy.yaml", "--num_workers"),
        (["--model", "scenes-clip", "--seed", "x"], "toy.yaml", "'x' is not a seed: a whole number from 0"),
        (["--model", "scenes-clip", "--device", "tpu9"], "toy.yaml", "--device 'tpu9' is no device: it is cpu"),
        (["--model", "scenes-clip", "--device", "None"], "toy.yaml", "--device 'None' is no device"),
        (["--model", "scenes-clip", "--device", ""], "toy.yaml", "--device '' is no device"),
        (["--model", "scenes-clip", "--device", "meta"], "toy.yaml", "--device meta cannot be used (Cannot copy out"),
        (["--model", "scenes-clip", "scenes-clip"], "toy.yaml", "--model names scenes-clip twice"),
        (["--model", "scenes-clip", "--run_name", "a/b"], "toy.yaml", "a run's name is one folder name"),
        (["--model", "scenes-clip", "--baseline", "none.json"], "toy.yaml", "no baseline named 'none.json'"),
        (["--model", "scenes-clip", "--baseline", "imagenet"], "toy.yaml", "fit one on these data"),
        (["--model", "started"], "toy.yaml", "is the folder of a run without a Wise-FT path"),
        ([], "toy.yaml", "--model"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, images, capsys, arguments, data, sentence):
    (folder / "empty.yaml").write_text("model: x\n")
    (folder / "broken.yaml").write_text("data: [\n")
    (folder / "strange.yaml").write_text("data:\n  class_path: toy_evaluation_data.Nowhere\n")
    write_config(folder / "option.yaml", images, rooot="x")
    (folder / "started").mkdir()
    (folder / "started" / "config.yaml").write_text("model: {}\n")
    before = set(folder.rglob("*"))
    assert evaluate(*arguments, data=data) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    left = set(folder.rglob("*")) - before
    assert not [path for path in left if path.is_file() or path.name.isdecimal()]


def test_a_classifier_whose_classes_have_other_names_is_refused(folder, capsys):
    encoder = load_encoder("scenes-clip", pretrained=False)
    model = ImageClassifier(ImageTower(encoder.model.visual), torch.randn(4, 128))
    for names, status in ((NAMES, 0), ([*NAMES[1:], NAMES[0]], 2)):
        save_classifier(folder / "own", model, encoder="scenes-clip", class_names=names)
        assert evaluate("--model", "own") == status
    assert f"own calls class 0 {NAMES[1]!r}, the data call it {NAMES[0]!r}" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["run", "run/last.ckpt", "run/wise_ft/alpha=1.00.safetensors"])
def test_classes_that_a_run_calls_otherwise_are_refused(folder, capsys, word):
    run = path_folder(folder / "run", alphas=(0.0, 1.0))
    head = torch.randn(4, 128)
    model = ImageClassifier(load_encoder("scenes-clip").model, head)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    for names, status in ((list(NAMES), 0), ([*NAMES[1:], NAMES[0]], 2)):
        torch.save({"state_dict": state, "class_names": names}, run / "last.ckpt")
        assert evaluate("--model", word) == status
    assert f"calls class 0 {NAMES[1]!r}, the data call it {NAMES[0]!r}" in capsys.readouterr().err


def test_what_interpolate_wrote_outside_a_run_knows_its_encoder(folder):
    run = path_folder(folder / "run", alphas=(0.0, 1.0))
    ends = [str(run / "wise_ft" / f"alpha={alpha}.safetensors") for alpha in ("0.00", "1.00")]
    path = ["interpolate", "--start", ends[0], "--end", ends[1], "--alphas", "0", "0.5", "1", "--out", "far/a/path"]
    assert main(path) == 0
    assert main(["soup", *ends, "--out", "far/soup.safetensors", "--dtype", "float16"]) == 0
    assert evaluate("--model", "far/a/path", "far/soup.safetensors") == 0
    middle, soup = results(folder).models[1], results(folder).models[3]
    assert middle.origin == soup.origin == "merged from several models, architecture of scenes-clip"
    assert abs(middle.reference.correct - soup.reference.correct) <= 1  # the same weights but for their type


def test_images_that_are_not_there_leave_no_run(folder, tmp_path_factory, capsys):
    root = tmp_path_factory.mktemp("ruined")
    write_images(root)
    for path in (root / "shift").rglob("*.png"):
        path.write_bytes(b"")
    write_config(folder / "ruined.yaml", root)
    assert evaluate("--model", "scenes-clip", data="ruined.yaml") == 2
    assert "images cannot be read" in capsys.readouterr().err
    assert not list((folder / "checkpoints" / "evaluate").iterdir())


def test_a_pictures_place_in_a_set_is_kept(folder, images, clip):
    """Which image is right, not how many: the places of a share are put together in the order of the set."""
    assert evaluate("--model", "scenes-clip", "--run_name", "x") == 0
    from lightning_robust.cli.evaluate_answers import unpack

    (kept,) = (folder / "checkpoints" / "evaluate" / "x" / "models").iterdir()
    answers = json.loads(kept.read_text())["sets"][0]
    logits, targets = logits_of(clip, Toy(str(images), clip.transform).test_dataloader()[0])
    assert unpack(answers["correct"], 48).tolist() == (logits.argmax(1) == targets).tolist()
