"""Which family of a table a model descends from, by files as runs and commands leave them."""

import warnings
from importlib import resources
from pathlib import Path

import pytest
import yaml

from lightning_robust.models.compressed import save_compressed
from lightning_robust.models.encoders import load_encoder
from lightning_robust.models.networks import load_network
from lightning_robust.results.diagnosis_record import TrainingPoint
from lightning_robust.robustness.diagnosis_family import known_family

SUPERVISED, CONTRASTIVE, FINETUNING = "SupervisedPretraining", "ContrastivePretraining", "ClassifierFinetuning"


@pytest.fixture(scope="module")
def points():
    """A table that knows scenes-clip by its weights, as the family `bundled`."""
    kind = {"kind": "zero-shot", "figures": {}, "target": 0.0, "predicted": 0.0, "low": 0.0, "high": 0.0}
    own = load_encoder("scenes-clip").checkpoint_hash
    return (
        TrainingPoint(name="bundled", family="bundled", checkpoint_hash=own, **kind),
        TrainingPoint(name="other", family="other", checkpoint_hash="a" * 64, **kind),
    )


def run_of(folder, kind, **settings):
    """A run's folder with a checkpoint, and with other weights where it exports."""
    folder.mkdir()
    (folder / "last.ckpt").write_bytes(b"weights")
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"class_path": f"x.{kind}", "init_args": settings}}))
    if "export_to" in settings:
        shipped = Path(str(resources.files("lightning_robust.checkpoints"))) / "scenes-vit"
        (folder / settings["export_to"]).mkdir()
        for file in shipped.iterdir():
            (folder / settings["export_to"] / file.name).write_bytes(file.read_bytes())
    return folder


def family_of(name, points):
    return known_family(str(name), "f" * 64, points)


@pytest.mark.filterwarnings("ignore:.* is not here, so that:UserWarning")
def test_descent_is_followed_over_runs_to_its_beginning(tmp_path, points):
    more = run_of(tmp_path / "more", CONTRASTIVE, encoder="scenes-clip", pretrained=True, export_to="clip")
    assert family_of(f"local-dir:{more / 'clip'}", points) == "bundled"
    assert family_of(more / "last.ckpt", points) == "bundled"
    tuned = run_of(tmp_path / "tuned", FINETUNING, encoder=f"local-dir:{more / 'clip'}")
    assert family_of(tuned / "last.ckpt", points) == "bundled"
    assert family_of(f"scenes-clip@{more / 'last.ckpt'}", points) == "bundled"


@pytest.mark.filterwarnings("ignore:.* is not here, so that:UserWarning")
def test_an_architecture_alone_is_no_descent(tmp_path, points):
    fresh = run_of(tmp_path / "fresh", CONTRASTIVE, encoder="scenes-clip", export_to="clip")
    assert family_of(f"local-dir:{fresh / 'clip'}", points) == ""
    assert family_of(run_of(tmp_path / "labels", SUPERVISED, encoder="scenes-clip") / "last.ckpt", points) == ""
    random = run_of(tmp_path / "random", FINETUNING, encoder="scenes-clip", pretrained=False)
    assert family_of(random / "last.ckpt", points) == ""
    assert family_of("scenes-clip@nothing.ckpt", points) == ""
    more = run_of(tmp_path / "more", CONTRASTIVE, encoder="scenes-clip", pretrained=True, export_to="clip")
    (more / "elsewhere").mkdir()  # a folder in a run's that the run did not write
    assert family_of(f"local-dir:{more / 'elsewhere'}", points) == ""


def test_what_was_compressed_is_of_the_family_of_what_it_was_made_from(tmp_path, points):
    source = load_network("scenes-clip", class_names=["star", "heart"])
    save_compressed(tmp_path / "small", source, source.model)
    assert family_of(tmp_path / "small", points) == "bundled"


def test_weights_that_are_gone_are_told_of_and_not_taken_for_unknown(tmp_path, points):
    tuned = run_of(tmp_path / "tuned", FINETUNING, encoder=f"local-dir:{tmp_path / 'gone'}")
    with pytest.warns(UserWarning, match="gone, which a model was trained from, is not here") as told:
        assert family_of(tuned / "last.ckpt", points) == ""
    assert len(told) == 1
    here = run_of(tmp_path / "here", FINETUNING, encoder="scenes-clip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert family_of(here / "last.ckpt", points) == "bundled"
