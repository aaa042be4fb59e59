"""Where weights lie: the cache of the Hub, a folder, a file, the package; names that mean nothing are refused."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from lightning_robust.models.weights_place import WeightsPlace, weights_place


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty folder, and an empty cache of the Hub below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def fetched(hub, repository, *files):
    """What downloads leave behind, but for the bytes."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / (40 * "a")
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(40 * "a")
    for file in files:
        (snapshot / file).touch()
    return snapshot


@pytest.mark.parametrize(
    ("name", "repository", "files"),
    [
        ("RN50-quickgelu/yfcc15m", "timm/resnet50_clip.yfcc15m", ["open_clip_model.safetensors"]),
        ("ViT-B-32/laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", ["open_clip_pytorch_model.bin"]),
        ("timm:resnet50.tv_in1k", "timm/resnet50.tv_in1k", ["model.safetensors"]),
        ("timm:resnet50", "timm/resnet50.a1_in1k", ["pytorch_model.bin"]),
        ("hf-hub:me/clip", "me/clip", ["open_clip_config.json", "open_clip_model.safetensors"]),
        ("transformers:me/clip", "me/clip", ["config.json", "model.safetensors"]),
    ],
)
def test_weights_of_the_hub_are_in_its_cache_or_missing(name, repository, files, hub):
    assert weights_place(name) == WeightsPlace(f"huggingface.co/{repository}", False)
    snapshot = fetched(hub, repository, *files)
    assert weights_place(name) == WeightsPlace(str(snapshot / files[-1]), True)
    (snapshot / files[0]).unlink()  # the configuration, where there is one
    assert not weights_place(name).there


def test_files_and_folders_of_this_machine(tiny_folder, tmp_path):
    assert weights_place(f"local-dir:{tiny_folder}") == WeightsPlace(str(tiny_folder), True)
    (tmp_path / "bare").mkdir()
    assert weights_place("local-dir:bare") == WeightsPlace("bare/open_clip_config.json", False)
    (tmp_path / "bare" / "open_clip_config.json").touch()
    assert weights_place("local-dir:bare") == WeightsPlace("bare/open_clip_model.safetensors", False)
    for name in ("RN50@a.pt", "timm:resnet50@a.pt", "runs/wise_ft/alpha=0.50.safetensors"):
        file = Path(name.rpartition("@")[2])
        assert weights_place(name) == WeightsPlace(str(file), False)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        assert weights_place(name) == WeightsPlace(str(file), True)
        file.unlink()


def test_what_ships_and_what_is_random_is_there():
    assert weights_place("scenes-clip") == weights_place("scenes-supervised") == WeightsPlace("in the package", True)
    for name in ("scenes-vit", "RN50", "RN50@gone.pt", "timm:resnet50.tv_in1k"):
        assert weights_place(f"untrained:{name}") == WeightsPlace("random weights", True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RN50/openai", "use 'RN50-quickgelu/openai'"), ("RN5", "near names: 'RN50'"),
        ("untrained:RN5", "near names: 'RN50'"), ("RN5@a.pt", "near names: 'RN50'"),
        ("RN50", "no weights without a tag"), ("scenes-vit", "ships without weights"),
        ("timm:resnet50.x", "has no weights 'x'"), ("untrained:timm:resnet5", "timm has no network"),
        ("untrained:local-dir:nowhere", "holds no open_clip_config.json"),
    ],
)  # fmt: skip
def test_names_that_mean_nothing_are_refused(name, said):
    with pytest.raises(ValueError, match=said):
        weights_place(name)
