"""`diagnose` with a made-up table and real models of the scenes world, on a few images."""

import json

import numpy as np
import pytest
import torch
import yaml
from diagnosis_data import made_up_study
from scipy.stats import kurtosis

from lightning_robust.cli.main import main
from lightning_robust.data.scenes import ScenesDataModule
from lightning_robust.models.checkpoint_files import save_tensors
from lightning_robust.models.interpolate import interpolate
from lightning_robust.models.networks import load_network
from lightning_robust.results import file_sha256
from lightning_robust.results.diagnosis_record import read_calibration, read_diagnosis, write_calibration
from lightning_robust.results.study_record import StudyRow, read_study, write_study
from lightning_robust.robustness import calibration_files
from lightning_robust.robustness.calibration_files import load_calibration
from lightning_robust.robustness.diagnosed import FittedDiagnosis
from lightning_robust.robustness.diagnosis import fit_calibration, without_family
from lightning_robust.robustness.diagnosis_family import known_family

FEW = ["--max_images", "60", "--device", "cpu"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A study's folder and the calibration that is made of it."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "study").mkdir()
    study = made_up_study()
    write_study(study, folder / "study" / "study.json")
    write_calibration(fit_calibration(study), folder / "table.json")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def diagnose(*words, code=0, capsys=None):
    assert main(["diagnose", *map(str, words)]) == code
    return None if capsys is None else capsys.readouterr()


def saved(here, run="001"):
    return read_diagnosis(here / "checkpoints" / "diagnose" / run / "results.json")


def test_a_study_alone_is_judged_kept_and_read_again(tables, here, capsys):
    out = diagnose("--study", tables / "study", "--save", "kept.json", "--level", "0.8", capsys=capsys).out
    assert "Robustness from reference images alone: the table made-up" in out
    assert "Left out: random" in out
    kept = read_calibration(here / "kept.json")
    assert kept == read_calibration(here / "checkpoints" / "diagnose" / "001" / "results.json")
    assert kept.level == 0.8
    assert kept.points == fit_calibration(read_study(tables / "study" / "study.json"), level=0.8).points
    first = out.split("Everything:")[0]
    again = diagnose("--study", "kept.json", capsys=capsys).out
    assert again.split("Everything:")[0] == first
    assert main(["show", "run", "checkpoints/diagnose/001"]) == 0
    assert capsys.readouterr().out.split("Everything:")[0] == first
    assert {one.name for one in (here / "checkpoints/diagnose/001").iterdir()} == {"results.json", "diagnosis.png"}


@torch.no_grad()
def by_hand(name, images=60):
    """Kurtosis, accuracy and confidence of a model on evenly spaced test images, without any of our measures."""
    data = ScenesDataModule()
    network = load_network(name, class_names=data.class_names, templates=data.templates)
    data.transform = network.transform
    test = data.test_dataloader()[0].dataset
    pictures, labels = zip(*(test[k * len(test) // images] for k in range(images)), strict=True)
    x, y = torch.stack(pictures), torch.tensor(labels)
    h, p = network.model.encoder.visual(x).double(), network.model(x).softmax(dim=1).double()
    return {
        "kurtosis/h": kurtosis(h.numpy(), axis=1, fisher=False).mean(),
        "confidence/accuracy": (p.argmax(dim=1) == y).double().mean().item(),
        "confidence/mean": p.amax(dim=1).mean().item(),
        "head/effective_rank": effective_rank(network.head.double()),
    }


def effective_rank(W):
    share = torch.linalg.svdvals(W) / torch.linalg.svdvals(W).sum()
    return torch.special.entr(share).sum().exp().item()


def test_a_model_is_measured_on_reference_images_and_judged_by_the_table(tables, here, capsys):
    out = diagnose("--model", "scenes-clip", "--study", tables / "table.json", *FEW, capsys=capsys).out
    (model,) = saved(here).models
    for tag, value in by_hand("scenes-clip").items():
        assert model.figures[tag] == pytest.approx(value, rel=1e-4), tag
    expected = FittedDiagnosis(read_calibration(tables / "table.json")).diagnose(model.figures)
    assert (model.predicted, model.low, model.high) == (expected.predicted, expected.low, expected.high)
    assert (model.verdict, model.reasons, model.family) == (expected.verdict, expected.reasons, "")
    assert not any(tag.startswith(("concepts", "er/", "accuracy/")) for tag in model.figures)
    record = saved(here)
    (source,) = record.data.images
    assert "reference test images, 60 of 2,000" in source
    assert record.points == read_calibration(tables / "table.json").points
    lines = out.split("\n")
    assert lines[1] == "scenes-clip"
    assert lines[2].startswith(("Probably", "Undetermined"))
    assert main(["show", "run", "checkpoints/diagnose/001"]) == 0
    assert capsys.readouterr().out.split("Everything:")[0] == out.split("Everything:")[0]


def test_several_kinds_of_models_and_validation_images(tables, here):
    words = ["--model", "scenes-supervised", "untrained:scenes-clip", "--study", tables / "study", "--split", "val"]
    diagnose(*words, *FEW, "--seed", 3)
    record = saved(here)
    assert [model.name for model in record.models] == ["scenes-supervised", "untrained:scenes-clip"]
    assert "validation images" in next(iter(record.data.images))
    assert record.models[1].origin == "random weights, seed 3, batch norms calibrated on the 60 images"
    assert record.models[1].verdict == "undetermined"
    assert "calibrated" not in record.models[0].origin


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder whose path leads from scenes-clip to slightly other weights."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "wise_ft").mkdir()
    data = ScenesDataModule()
    network = load_network("scenes-clip", class_names=data.class_names, templates=data.templates)
    clip = {k: v.clone() for k, v in network.model.encoder.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    other = {
        k: v + 0.02 * v.std() * torch.randn(v.shape, generator=generator) if v.is_floating_point() and v.ndim > 1 else v
        for k, v in clip.items()
    }
    for alpha in (0.0, 0.5, 1.0):
        save_tensors(folder / "wise_ft" / f"alpha={alpha:.2f}.safetensors", interpolate(clip, other, alpha))
        save_tensors(folder / "wise_ft" / f"alpha={alpha:.2f}.head.safetensors", {"weight": network.head})
    settings = {"class_path": "lightning_robust.training.ClassifierFinetuning", "init_args": {"encoder": "scenes-clip"}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": settings}))
    return folder


def test_every_point_of_a_path_is_diagnosed(tables, run, here, capsys):
    out = diagnose("--model", run, "--study", tables / "table.json", *FEW, capsys=capsys).out
    record = saved(here)
    assert [model.name for model in record.models] == [
        str(run / "wise_ft" / f"alpha={a}.safetensors") for a in ("0.00", "0.50", "1.00")
    ]
    assert len({model.predicted for model in record.models}) == 3
    assert " α = 0.50 " in out


def knowing(tables, here, family, checkpoint_hash):
    """The table, in which one family's first row has these weights."""
    known = read_calibration(tables / "table.json")
    first = next(k for k, point in enumerate(known.points) if point.family == family)
    points = list(known.points)
    points[first] = type(points[first])(**(vars(points[first]) | {"checkpoint_hash": checkpoint_hash}))
    changed = type(known)(**(vars(known) | {"points": tuple(points)}))
    write_calibration(changed, here / "knowing.json")
    return changed


def test_the_family_of_a_model_that_the_table_knows_is_left_out(tables, run, here, capsys):
    own_hash = load_network("scenes-clip").checkpoint_hash
    table = knowing(tables, here, "clip-4", own_hash)
    point = run / "wise_ft" / "alpha=1.00.safetensors"
    out = diagnose("--model", "scenes-clip", point, "--study", "knowing.json", *FEW, capsys=capsys).out
    fitted = FittedDiagnosis(without_family(table, "clip-4"))
    for model in saved(here).models:
        assert model.family == "clip-4"
        assert model.predicted == fitted.diagnose(model.figures).predicted
        assert model.predicted != FittedDiagnosis(table).diagnose(model.figures).predicted
        assert model.reasons[-1] == "The table knows its family, clip-4, which was left out of this prediction."
    assert "clip-4" in out


def test_descent_is_known_by_weights_by_what_they_were_finetuned_from_and_by_name(tables, run, here):
    points = knowing(tables, here, "clip-4", load_network("scenes-clip").checkpoint_hash).points
    assert known_family(str(run / "wise_ft" / "alpha=0.50.safetensors"), "f" * 64, points) == "clip-4"
    assert known_family("anything", points[5].checkpoint_hash, points) == points[5].family
    assert known_family(points[5].name, "f" * 64, points) == points[5].family
    assert known_family("scenes-supervised", "f" * 64, points) == ""
    assert known_family("untrained:scenes-clip", "f" * 64, points) == ""
    (run / "wise_ft" / "alpha=0.50.txt").touch()
    assert known_family(str(run / "wise_ft" / "gone.safetensors"), "f" * 64, points) == ""


def test_a_checkpoint_of_a_pretraining_is_of_the_family_of_what_its_run_exported(tables, here):
    """And not of the encoder that its config names for the architecture."""
    encoder = load_network("scenes-clip")
    points = knowing(tables, here, "clip-4", encoder.checkpoint_hash).points
    run, settings = here / "run", {"encoder": "scenes-clip", "export_to": "clip"}
    run.mkdir()
    (run / "last.ckpt").touch()

    def said(kind, **more):
        model = {"class_path": f"x.{kind}", "init_args": settings | more}
        (run / "config.yaml").write_text(yaml.safe_dump({"model": model}))
        return known_family(str(run / "last.ckpt"), "f" * 64, points)

    assert said("ContrastivePretraining") == ""
    assert said("ContrastivePretraining", pretrained=True) == "clip-4"
    assert said("SupervisedPretraining") == ""
    (run / "clip").mkdir()
    (run / "clip" / "model.safetensors").write_bytes(b"weights")
    exported = knowing(tables, here, "sup-3", file_sha256(run / "clip" / "model.safetensors")).points
    assert known_family(str(run / "last.ckpt"), "f" * 64, exported) == "sup-3"


def test_a_table_of_few_families_gives_no_verdict(here, capsys):
    write_study(made_up_study(7), here / "study.json")
    out = diagnose("--model", "scenes-clip", "--study", "study.json", *FEW, capsys=capsys).out
    assert saved(here).models[0].verdict == "undetermined"
    assert "below 10 no verdict is given" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --model MODEL to have it diagnosed, or --study STUDY"),
        (["--study", "nothing"], "no study 'nothing'"),
        (["--study", "TABLES"], "holds no study.json"),
        (["--study", "STUDY", "--split", "val"], "--split has no effect without --model"),
        (["--study", "STUDY", "--download"], "--download has no effect without --model"),
        (["--study", "STUDY", "--save", "kept.txt"], "as a .json file, got kept.txt"),
        (["--study", "STUDY", "--save", "none/kept.json"], "cannot write none/kept.json"),
        (["--study", "TABLE", "--save", "kept.json"], "--save is for the table of a study"),
        (["--study", "TABLE", "--level", "0.8"], "--level is for the table of a study"),
        (["--study", "STUDY", "--level", "1"], "not a share from 0.5 to below 1"),
        (["--study", "OTHER"], "is a record of 'probe', not a study's table"),
        (["--study", "BROKEN"], "is not a calibration of diagnose"),
        (["--study", "CUT"], "is no whole calibration: it has"),
        (["--study", "TINY"], "at least 4 families, got 3"),
        (["--model", "scenes-clip", "--data", "imagenet:here"], "needs a table of models measured on these data"),
        (["--model", "scenes-clip", "--study", "ELSEWHERE"], "is of ImageNet and these data are scenes world"),
        (["--model", "scenes-clip", "scenes-clip", "--study", "TABLE"], "names scenes-clip twice"),
        (["--model", "scenes-klip", "--study", "TABLE"], "scenes-klip"),
        (["--model", "scenes-clip", "gone.safetensors", "--study", "TABLE"], "gone.safetensors"),
        (["--model", "timm:resnet18", "--study", "TABLE", "--run_name", "a/b"], "one folder name"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(tables, here, capsys, words, said):
    (here / "probe.json").write_text(json.dumps({"kind": "probe", "schema_version": 1}))
    (here / "broken.json").write_text("{")
    write_study(made_up_study(3), here / "tiny.json")
    other = read_calibration(tables / "table.json")
    data = type(other.data)(**(vars(other.data) | {"dataset": "ImageNet"}))
    write_calibration(type(other)(**(vars(other) | {"data": data})), here / "elsewhere.json")
    write_calibration(type(other)(**(vars(other) | {"points": other.points[1:]})), here / "cut.json")
    names = {
        "TABLES": tables, "STUDY": tables / "study", "TABLE": tables / "table.json", "OTHER": "probe.json",
        "BROKEN": "broken.json", "TINY": "tiny.json", "ELSEWHERE": "elsewhere.json",
        "CUT": "cut.json",
    }  # fmt: skip
    error = diagnose(*(names.get(word, word) for word in words), code=2, capsys=capsys).err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (here / "checkpoints").exists() or not any((here / "checkpoints").rglob("*.json"))
    assert not (here / "kept.json").exists()


def test_what_ships_is_found_by_name_and_its_absence_says_how_to_make_one(tables, here, capsys, monkeypatch):
    monkeypatch.setattr(calibration_files, "_shipped", lambda name: here / f"{name}.json")
    error = diagnose("--model", "scenes-clip", code=2, capsys=capsys).err
    assert "this installation ships no calibration 'scenes': make a table with `lightning-robust study" in error
    (here / "scenes.json").write_bytes((tables / "table.json").read_bytes())
    assert load_calibration("scenes")[0] == read_calibration(tables / "table.json")
    assert calibration_files.shipped_calibrations() == ("scenes",)
    diagnose("--model", "scenes-clip", *FEW)
    assert saved(here).calibration == "made-up"


def test_a_picture_that_cannot_be_made_leaves_no_folder(tables, here, monkeypatch):
    def broken(*_):
        raise RuntimeError("no picture")

    monkeypatch.setattr("lightning_robust.report.write_diagnosis_figure", broken)
    with pytest.raises(RuntimeError, match="no picture"):
        diagnose("--study", tables / "table.json")
    assert not list((here / "checkpoints" / "diagnose").iterdir())


def test_rows_of_the_table_are_those_of_the_study_that_were_measured(tables):
    study = read_study(tables / "study" / "study.json")
    table = read_calibration(tables / "table.json")
    measured = [row for row in study.rows if row.kind != "random"]
    assert {point.name for point in table.points} == {row.name for row in measured}
    assert isinstance(measured[0], StudyRow)
    np.testing.assert_allclose(
        sorted(point.target for point in table.points), sorted(row.value("er/mean") for row in measured)
    )
