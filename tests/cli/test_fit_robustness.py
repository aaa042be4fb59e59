"""A run against a baseline as a user types it: live, along the path, in table, record, picture and TensorBoard."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_robust.cli.main import main
from lightning_robust.cli.outcome import _held_out, _protocol
from lightning_robust.data import ImageNetDataModule
from lightning_robust.data.scenes.distributions import SHIFTS
from lightning_robust.data.scenes.vocabulary import caption_words
from lightning_robust.data.shifts import DistributionShift
from lightning_robust.models import write_clip_folder
from lightning_robust.results import collect_provenance, read_curves, read_run, write_run
from lightning_robust.results.baseline_record import BaselineRecord, ModelAccuracies, write_baseline
from lightning_robust.robustness import load_baseline

NAMES = [shift.name for shift in SHIFTS]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:effective robustness is an extrapolation"),
]


def own_baseline(path):
    """Twelve made-up models on a line whose range begins at 10 %: above what an untrained model reaches."""
    rng = np.random.default_rng(0)
    models = [
        ModelAccuracies(f"m{k}", a, {name: a * 0.6 + 0.05 * rng.random() for name in NAMES})
        for k, a in enumerate(np.linspace(0.1, 0.9, 12).tolist())
    ]
    options = {"scale": "logit", "x": "full", "aggregate": "er", "protocols": {}, "provenance": collect_provenance()}
    images = dict.fromkeys(["reference", *NAMES], 500)
    said = "12 made-up models"
    write_baseline(
        BaselineRecord(name="made-up", description=said, images=images, models=tuple(models), **options), path
    )


def config(baseline, encoder):
    callbacks = "lightning_robust.callbacks"
    return {
        "seed_everything": 0,
        "trainer": {
            "max_epochs": 2, "accelerator": "cpu", "devices": 1, "num_sanity_val_steps": -1,
            "enable_progress_bar": False,
            "callbacks": [
                {"class_path": f"{callbacks}.EffectiveRobustness",
                 "init_args": {"baseline": str(baseline), "replicates": 100}},
                {"class_path": f"{callbacks}.WiseFT",
                 "init_args": {"alphas": [0.5], "baseline": str(baseline), "replicates": 100}},
            ],
        },
        "model": {"class_path": "lightning_robust.training.ClassifierFinetuning",
                  "init_args": {"encoder": f"local-dir:{encoder}", "pretrained": False, "warmup_steps": 1}},
        "data": {"class_path": "lightning_robust.data.ScenesDataModule",
                 "init_args": {"n_train": 256, "n_val": 60, "n_val_shift": 40, "n_test": 50, "n_concepts": 10}},
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A whole run's folder."""
    here = tmp_path_factory.mktemp("run")
    write_clip_folder(here / "clip", caption_words(), embed_dim=16, vision_width=4, vision_head_width=32, text_width=16)
    own_baseline(here / "own.json")
    (here / "own.yaml").write_text(yaml.safe_dump(config(here / "own.json", here / "clip")))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("COLUMNS", "160")
        assert main(["fit", "--config", "own.yaml", "--run_name=one"]) == 0
    return here / "checkpoints" / "own" / "one"


def test_the_record_has_it_for_every_alpha(run):
    record = read_run(run / "results.json")
    assert record.baseline.startswith("made-up: 12 made-up models, reference accuracy 10.0 to 90.0 %, logit scale")
    assert any("while training: validation images, against made-up" in line for line in record.conventions)
    baseline = load_baseline(run / "baseline.json")
    assert len(record.wise_ft) == 3
    for row in record.wise_ft:
        found = baseline.effective_robustness(
            row.reference, row.shifts, dict.fromkeys(["reference", *NAMES], 50), replicates=100
        )
        assert row.effective_robustness == found


def test_curves_and_event_files_have_it(run):
    rows = [row for row in read_curves(run / "signatures.csv") if row.tag.startswith("er/")]
    assert {row.epoch for row in rows} == {0, 1, 2}
    assert {row.tag for row in rows} >= {"er/mean", "er/sketch/low", "er/mean/prediction_high", "er/extrapolated"}
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0}).Reload()
    for tag in {row.tag for row in rows}:
        logged = [event.value for event in events.Scalars(tag)]
        np.testing.assert_array_equal(logged, np.float32([row.value for row in rows if row.tag == tag]))
    assert [event.step for event in events.Scalars("wise_ft/er/mean")] == [0, 50, 100]
    (figure,) = events.Images("wise_ft/robustness")
    assert figure.step == 4
    assert figure.encoded_image_string.startswith(b"\x89PNG")


def test_the_scatter_is_drawn_twice_and_again_by_show(run, capsys):
    with Image.open(run / "robustness.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert "<svg" in (run / "robustness.svg").read_text()
    before = (run / "robustness.svg").read_text().count("<path")
    (run / "robustness.png").unlink()
    (run / "robustness.svg").unlink()
    assert main(["show", "run", str(run)]) == 0
    assert (run / "robustness.svg").read_text().count("<path") == before
    assert (run / "robustness.png").is_file()
    out = capsys.readouterr().out
    mean = read_run(run / "results.json").wise_ft[-1].effective_robustness.mean
    assert f"{100 * mean.estimate:+.1f}" in out
    assert "made-up: 12 made-up models" in " ".join(out.split())


def test_evaluation_alone_leaves_it_out(run, monkeypatch, capsys):
    monkeypatch.chdir(run.parents[2])
    assert main(["validate", "--config", "own.yaml", "--run_name=one", "--ckpt_path=last"]) == 2  # no ModelCheckpoint
    capsys.readouterr()
    assert main(["validate", "--config", "own.yaml"]) == 0
    assert "val/reference" in capsys.readouterr().out


@pytest.mark.slow
def test_going_on_writes_the_figure_beside_the_curves_that_were(run, monkeypatch, tmp_path):
    """An event file that is opened again to go on would drop what came later."""
    here = tmp_path
    settings = yaml.safe_load((run.parents[2] / "own.yaml").read_text())
    settings["trainer"]["callbacks"].append(
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
         "init_args": {"filename": "last", "save_top_k": 1, "enable_version_counter": False}}
    )  # fmt: skip
    (here / "own.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.chdir(here)
    assert main(["fit", "--config", "own.yaml", "--run_name=a", "--trainer.max_epochs=1"]) == 0
    assert main(["fit", "--config", "own.yaml", "--run_name=a", "--ckpt_path=last"]) == 0
    events = EventAccumulator(str(here / "checkpoints/own/a")).Reload()
    assert [event.step for event in events.Scalars("er/mean")] == [0, 2, 4]
    whole = read_curves(run / "signatures.csv")
    resumed = read_curves(here / "checkpoints/own/a/signatures.csv")
    assert resumed == whole


@pytest.mark.parametrize(
    ("name", "message"),
    [("EffectiveRobustness", "no baseline named 'gone.json'"), ("WiseFT", "no baseline named 'gone.json'")],
)
def test_a_baseline_that_is_not_there_is_one_sentence(name, message, run, tmp_path, monkeypatch, capsys):
    settings = yaml.safe_load((run.parents[2] / "own.yaml").read_text())
    for callback in settings["trainer"]["callbacks"]:
        if callback["class_path"].endswith(name):
            callback["init_args"]["baseline"] = "gone.json"
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "own.yaml"]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    assert not list(tmp_path.rglob("results.json"))


def test_a_run_without_a_baseline_has_no_scatter(run, tmp_path, capsys):
    record = read_run(run / "results.json")
    rows = tuple(dataclasses.replace(row, effective_robustness=None) for row in record.wise_ft)
    write_run(dataclasses.replace(record, wise_ft=rows, baseline=None), tmp_path / "results.json")
    assert main(["show", "run", str(tmp_path)]) == 0
    assert "ER" not in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


class Described:
    reference = DistributionShift("reference", "photos")
    shifts = (DistributionShift("r", "renditions", protocol="r: 200 classes"), DistributionShift("v2", "again"))


def test_protocols_of_shifts_are_named():
    assert _protocol(object(), judged=True).startswith("top-1 over all classes; choices on validation")
    said = _protocol(Described(), judged=True)
    assert said.startswith("reference: top-1 over all classes, r: 200 classes, v2: top-1 over all classes; choices")


def test_results_are_strict_json(run):
    def refuse(constant):
        raise ValueError(constant)

    data = json.loads((run / "results.json").read_text(), parse_constant=refuse)
    assert data["schema_version"] == 4
    assert set(data["wise_ft"][0]["effective_robustness"]["shifts"]) == set(NAMES)
    assert torch.tensor([row["effective_robustness"]["mean"]["estimate"] for row in data["wise_ft"]]).isfinite().all()


def test_the_record_says_where_validation_images_are_not_those_of_the_baseline():
    imagenet = ImageNetDataModule.__new__(ImageNetDataModule)
    assert "held out of its training images" in _held_out(imagenet)
    assert _held_out(None) == "validation images"
