"""A tiny CLIP with random weights, in a folder of its own, and tiny architectures of open_clip."""

import json

import open_clip
import pytest
import torch

from lightning_robust.models import Encoder, load_encoder, write_clip_folder
from lightning_robust.models.checkpoint_files import save_tensors

WORDS = ["a", "photo", "of", "the", "red", "blue", "star", "heart", "fire", "truck"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """An open_clip folder with random weights."""
    folder = tmp_path_factory.mktemp("clip") / "tiny"
    write_clip_folder(folder, WORDS, embed_dim=16, vision_width=4, vision_head_width=32, text_width=16)
    untrained = load_encoder(f"local-dir:{folder}", pretrained=False, seed=1).model
    with torch.no_grad():  # as if trained: a plain init leaves every residual branch at zero
        for name, parameter in untrained.named_parameters():
            if name.endswith("bn3.weight"):
                parameter.fill_(0.5)
    save_tensors(folder / "open_clip_model.safetensors", untrained.state_dict())
    return folder


@pytest.fixture
def tiny(tiny_folder) -> Encoder:
    return load_encoder(f"local-dir:{tiny_folder}")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder that no other test has."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LIGHTNING_ROBUST_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing asks the network, on whatever machine the tests run."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def architectures(tmp_path, monkeypatch):
    """Register `tiny` and its twin `tiny-quickgelu` among open_clip's architectures: ViT and text tower, 16 wide."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    known = dict(open_clip.factory._MODEL_CONFIGS)
    monkeypatch.setattr(
        open_clip.factory,
        "_MODEL_CONFIGS",
        {**known, "tiny": config, "tiny-quickgelu": json.loads(json.dumps({**config, "quick_gelu": True}))},
    )
    return ("tiny", "tiny-quickgelu")
